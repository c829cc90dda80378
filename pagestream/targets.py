"""Which tables a command is for: sites and tables by name, all with a status, or every one."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from runtime.errors import NotDone
from schemas.tables import Kind, Table, is_site
from schemas.walks import Status, WalkState


class Target(NamedTuple):
    """A site, or one table of it where `kind` is given."""

    site: str
    kind: Kind | None = None

    def __str__(self) -> str:
        return self.site if self.kind is None else f"{self.site}/{self.kind}"

    def covers(self, table: Table) -> bool:
        """Whether a table is meant."""
        return self.site == table.site and self.kind in (None, table.kind)


def parse_target(text: str) -> Target:
    """Return what `SITE` or `SITE/KIND` names; ValueError when it names nothing."""
    if "/" in text:
        return Target(*Table.parse(text))
    if not is_site(text):
        raise ValueError(f"{text!r} is neither a site, like alameda.ca, nor one of its tables")
    return Target(text)


class Applies(NamedTuple):
    """In which statuses a command does something, and in which it is done already."""

    to: Collection[Status]
    done_in: Collection[Status] = ()


def choose(
    states: Mapping[Table, WalkState],
    applies: Applies,
    targets: Sequence[Target],
    statuses: Collection[Status],
) -> list[WalkState]:
    """Return the states of the tables meant, each once, in the order of their names.

    With targets, those that they name; else all. With statuses, of these those that have one; with
    neither, all to which the command applies. NotDone names a target that nobody knows.
    """
    chosen = _named(states, targets, applies) if targets else set(states)
    if statuses:
        chosen = {table for table in chosen if states[table].status in statuses}
    elif not targets:
        chosen = {table for table in chosen if states[table].status in applies.to}
    return [states[table] for table in sorted(chosen)]


def _named(
    states: Mapping[Table, WalkState], targets: Sequence[Target], applies: Applies
) -> set[Table]:
    """Return the tables that the targets name.

    A table that is named is meant whatever its status. Of a site those are meant that the command
    applies to; where it applies to none, every one, so that the answers say why.
    """
    chosen: set[Table] = set()
    for target in targets:
        covered = {table for table in states if target.covers(table)}
        if not covered:
            raise NotDone(
                f"{target} is not known", remedy=f"run `pagestream sites add {target.site}`"
            )
        meant = {*applies.to, *applies.done_in}
        fitting = {table for table in covered if states[table].status in meant}
        chosen |= covered if target.kind is not None else fitting or covered
    return chosen
