"""What a batch of page records comes to: pure, from the records and what is stored so far.

The last record of a key decides what is written, while the figures count every single one.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from consumers.batches import Item, Rejected
from consumers.reading import what_key_names
from runtime.kafka.records import Record
from schemas.records import Page, SiteRemoved, WalkBarrier
from schemas.tables import Kind, Table

Outcome = Literal["created", "updated", "unchanged", "deleted", "dead_lettered"]

UNKNOWN_WALK: Final = 0
"""Stands for the walk of a record that names none."""


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """The deletion of a page."""

    table: Table
    id: str
    walk: int = UNKNOWN_WALK


class Removal(msgspec.Struct, frozen=True, gc=False):
    """All pages of a table are to go, those of the batch that came before it among them.

    `unwritten` is by how many the records before it raised the number of the table's pages, below
    zero where they lowered it: none of that was written. `counted`: it was never applied before.
    """

    table: Table
    walk: int
    unwritten: int
    counted: bool


class Figures(msgspec.Struct):
    """What became of a walk's records: the sum, without `removed`, is their number.

    `removed` are the pages that went because the site was removed: any number by one record.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    dead_lettered: int = 0
    removed: int = 0


class Changes(msgspec.Struct):
    """What is to be written, in this order: removals, pages, barriers, figures by walk."""

    removals: list[Removal]
    created: list[Page]
    changed: list[Page]
    deleted: list[Tombstone]
    barriers: dict[Table, WalkBarrier]
    figures: dict[tuple[str, Kind, int], Figures]

    def figures_of(self, site: str, kind: Kind, walk: int) -> Figures:
        """Return the figures of a walk, to be added to."""
        return self.figures.setdefault((site, kind, walk), Figures())

    def remove(self, removal: Removal, rows: int) -> None:
        """Count the pages that a removal took: `rows` of them were stored."""
        if removal.counted and (pages := rows + removal.unwritten):
            self.figures_of(*removal.table, removal.walk).removed += pages


class Fold:
    """Follows each key of `pages` through a batch: what would be stored after each record.

    `stored` holds the row hash of every page of the batch that has a row, by its record's key; None
    is a hash that was cleared, and differs from any. `counted_from` says from which offset of each
    partition records are counted.
    """

    def __init__(
        self, stored: Mapping[str, int | None], counted_from: Mapping[tuple[str, int], int]
    ) -> None:
        self._counted_from = counted_from
        self._before = dict(stored)
        self._now = dict(stored)
        self._newest: dict[str, Page | Tombstone] = {}
        self._changes = Changes([], [], [], [], {}, {})

    def apply(self, items: Iterable[Item]) -> Changes:
        """Go through the records in order; return what they come to."""
        for item in items:
            record, content = item.record, item.content
            if isinstance(content, Page):
                outcome = self._put(record.key or "", content)
                self._count(record, content.site, content.kind, content.walk, outcome)
            elif isinstance(content, Tombstone):
                outcome = self._delete(record.key or "", content)
                self._count(record, *content.table, content.walk, outcome)
            elif isinstance(content, Rejected):
                self._reject(record, content)
            elif isinstance(content, WalkBarrier):
                self._changes.barriers[Table(content.site, content.kind)] = content
            elif isinstance(content, SiteRemoved):
                self._remove(record, content)
        return self._finish()

    def _put(self, key: str, page: Page) -> Outcome:
        known = key in self._now
        equal = known and self._now[key] == page.row_hash
        self._now[key] = page.row_hash
        self._newest[key] = page
        if equal:
            return "unchanged"
        return "updated" if known else "created"

    def _delete(self, key: str, tombstone: Tombstone) -> Outcome:
        known = key in self._now
        self._now.pop(key, None)
        self._newest[key] = tombstone
        return "deleted" if known else "unchanged"

    def _reject(self, record: Record, rejected: Rejected) -> None:
        named = what_key_names(record)
        if named.site is not None and named.kind is not None:
            page = rejected.message
            walk = page.walk if isinstance(page, Page) else UNKNOWN_WALK
            self._count(record, named.site, named.kind, walk, "dead_lettered")

    def _remove(self, record: Record, removed: SiteRemoved) -> None:
        """Forget the table's pages so far: they go before any that follow are written."""
        table = Table(removed.site, removed.kind)
        prefix = table.record_key("")
        unwritten = _forget(self._now, prefix) - _forget(self._before, prefix)
        _forget(self._newest, prefix)
        self._changes.removals.append(
            Removal(table, removed.walk, unwritten, self._is_counted(record))
        )

    def _count(self, record: Record, site: str, kind: Kind, walk: int, outcome: Outcome) -> None:
        if self._is_counted(record):
            figures = self._changes.figures_of(site, kind, walk)
            setattr(figures, outcome, getattr(figures, outcome) + 1)

    def _is_counted(self, record: Record) -> bool:
        return record.offset >= self._counted_from[record.topic, record.partition]

    def _finish(self) -> Changes:
        changes, before = self._changes, self._before
        for key, newest in self._newest.items():
            if isinstance(newest, Tombstone):
                if key in before:
                    changes.deleted.append(newest)
            elif key not in before:
                changes.created.append(newest)
            elif before[key] != newest.row_hash:
                changes.changed.append(newest)
        return changes


def _forget(keys: dict[str, Any], prefix: str) -> int:
    """Drop the keys that begin so; return their number."""
    found = [key for key in keys if key.startswith(prefix)]
    for key in found:
        del keys[key]
    return len(found)
