"""Lanes: strictly in order, one fetch per table, and requests that must not wait are seen."""

from datetime import UTC, datetime

import pytest

from producer.intake import Unreadable
from producer.lanes import Lane, Pending
from schemas.commands import Command, PauseWalk, RefetchPages, StillWaiting, TakeStep
from schemas.records import DeadLetter
from schemas.walks import Position

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def step(site: str, number: int = 0) -> TakeStep:
    return TakeStep(
        site=site, kind="minutes", walk=1, step=number, position=Position(phase="pages"), rows=10
    )


def pause(site: str) -> PauseWalk:
    return PauseWalk(site=site, kind="minutes", command_id="c", sent_by="t", sent_at=NOW, walk=1)


def refetch(site: str) -> RefetchPages:
    return RefetchPages(
        site=site,
        kind="minutes",
        command_id="c",
        sent_by="t",
        sent_at=NOW,
        walk=1,
        round=1,
        ids=("a",),
    )


def unreadable() -> Unreadable:
    letter = DeadLetter(
        identity="0",
        reason="undecodable",
        message="",
        original=b"",
        original_length=0,
        original_digest="",
        found_by="walker",
        at=NOW,
    )
    return Unreadable(letter)


def lane(*commands: Command | Unreadable) -> Lane:
    made = Lane()
    for offset, command in enumerate(commands):
        made.add(Pending(command, offset))
    return made


def test_each_table_may_fetch_its_first_step_beside_the_others() -> None:
    made = lane(step("a"), step("a", 1), step("b"), refetch("c"))
    assert list(made.firsts()) == [step("a"), step("b"), refetch("c")]


def test_a_step_behind_another_command_of_its_table_waits_for_it() -> None:
    made = lane(pause("a"), step("a"), step("b"))
    assert list(made.firsts()) == [step("b")]
    made.passed()
    assert list(made.firsts()) == [step("a"), step("b")]


def test_commands_have_their_turn_in_the_order_of_the_log() -> None:
    made = lane(step("b"), pause("a"), step("a"))
    turns = []
    while made:
        turns.append((made.head.offset, made.head.command))
        made.passed()
    assert turns == [(0, step("b")), (1, pause("a")), (2, step("a"))]


def test_what_cannot_be_read_holds_nobody_up() -> None:
    made = lane(unreadable(), step("a"))
    assert list(made.firsts()) == [step("a")]


def test_it_is_seen_from_when_to_when_a_request_must_not_wait() -> None:
    made = lane(step("a"), step("b"))
    assert not made.must_not_wait
    made.add(Pending(pause("b"), 2))
    for _ in range(2):
        assert made.must_not_wait
        made.passed()
    assert made.must_not_wait
    made.passed()
    assert not made.must_not_wait


@pytest.mark.parametrize(
    "command",
    [
        step("b"),
        refetch("b"),
        unreadable(),
        StillWaiting(site="b", kind="minutes", walk=1, at=NOW),
    ],
    ids=lambda command: type(command).__name__,
)
def test_nobody_waits_for_what_asks_the_source_itself_or_asks_for_nothing(
    command: Command | Unreadable,
) -> None:
    assert not lane(step("a"), command).must_not_wait


def test_it_says_when_there_is_something_new_to_look_through() -> None:
    made = lane(step("a"), step("b"))
    assert made.changed
    made.changed = False
    made.passed()
    assert made.changed
