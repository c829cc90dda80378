"""Which tables a command is for."""

import pytest

from pagestream.controls import CANCEL, FORCE_FULL, PAUSE, RESUME, RETRY
from pagestream.targets import Target, choose, parse_target
from runtime.errors import NotDone
from schemas.tables import Table
from schemas.walks import Status, WalkState


def state(site: str, kind: str, status: Status) -> WalkState:
    table = Table.parse(f"{site}/{kind}")
    return WalkState(site=table.site, kind=table.kind, status=status, walk=3)


STATES = {
    one.table: one
    for one in (
        state("b.ca", "minutes", "in_progress"),
        state("b.ca", "agenda", "completed"),
        state("a.ca", "agenda", "paused"),
        state("a.ca", "minutes", "failed"),
        state("gone.ca", "minutes", "removed"),
    )
}


def chosen(*names: str, control: object = PAUSE, statuses: tuple[Status, ...] = ()) -> list[str]:
    targets = [parse_target(name) for name in names]
    return [one.table.key for one in choose(STATES, control.applies, targets, statuses)]  # type: ignore[attr-defined]  # one of the controls


def test_a_target_is_a_site_or_a_table() -> None:
    assert parse_target("a.ca") == Target("a.ca")
    assert parse_target("a.ca/minutes") == Target("a.ca", "minutes")
    assert str(Target("a.ca", "agenda")) == "a.ca/agenda"


@pytest.mark.parametrize("text", ["A.ca", "a.ca/votes", "a.ca/", "/minutes", "", "x@evil.com"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"site|kind"):
        parse_target(text)


def test_a_named_table_is_meant_whatever_its_status() -> None:
    assert chosen("b.ca/agenda") == ["b.ca/agenda"]


def test_of_a_site_those_are_meant_that_it_applies_to() -> None:
    assert chosen("b.ca") == ["b.ca/minutes"]
    assert chosen("a.ca", control=RETRY) == ["a.ca/minutes"]
    assert chosen("a.ca", control=FORCE_FULL) == ["a.ca/agenda", "a.ca/minutes"]


def test_what_is_so_already_is_meant_too() -> None:
    assert chosen("a.ca") == ["a.ca/agenda"]
    assert chosen("b.ca", control=RESUME) == ["b.ca/minutes"]


def test_where_it_applies_to_no_table_of_a_site_all_answer_why_not() -> None:
    assert chosen("gone.ca") == ["gone.ca/minutes"]
    assert chosen("b.ca", control=CANCEL) == ["b.ca/minutes"]


def test_all_are_those_that_it_applies_to() -> None:
    assert chosen() == ["b.ca/minutes"]
    assert chosen(control=RETRY) == ["a.ca/minutes"]
    assert chosen(control=FORCE_FULL) == [
        "a.ca/agenda",
        "a.ca/minutes",
        "b.ca/agenda",
        "b.ca/minutes",
    ]


def test_by_status_all_that_have_it_or_of_the_named_those() -> None:
    assert chosen(statuses=("failed", "paused")) == ["a.ca/agenda", "a.ca/minutes"]
    assert chosen("a.ca", control=RETRY, statuses=("failed",)) == ["a.ca/minutes"]
    assert chosen("b.ca", control=RETRY, statuses=("failed",)) == []


def test_a_table_that_is_named_twice_is_meant_once() -> None:
    assert chosen("b.ca/minutes", "b.ca", "b.ca/minutes") == ["b.ca/minutes"]


@pytest.mark.parametrize("name", ["unknown.ca", "unknown.ca/minutes", "gone.ca/agenda"])
def test_what_nobody_knows_is_named(name: str) -> None:
    with pytest.raises(NotDone, match=f"{name} is not known .*pagestream sites add"):
        chosen("b.ca", name)
