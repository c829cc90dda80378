"""Lanes: strictly in order, and one fetch in flight per table."""

from concurrent.futures import Future
from datetime import UTC, datetime

from producer.intake import Unreadable
from producer.lanes import Lane, Pending
from producer.responses import Failure, Fetched
from schemas.commands import PauseWalk, TakeStep
from schemas.records import DeadLetter
from schemas.walks import Position

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def step(site: str, number: int = 0) -> TakeStep:
    return TakeStep(
        site=site, kind="minutes", walk=1, step=number, position=Position(phase="pages"), rows=10
    )


def pause(site: str) -> PauseWalk:
    return PauseWalk(site=site, kind="minutes", command_id="c", sent_by="t", sent_at=NOW, walk=1)


def lane(*commands: TakeStep | PauseWalk | Unreadable) -> Lane:
    made = Lane()
    for offset, command in enumerate(commands):
        made.add(Pending(command, offset))
    return made


def test_each_table_may_fetch_its_first_step_beside_the_others() -> None:
    made = lane(step("a"), step("a", 1), step("b"))
    assert [given for _, given in made.next_steps()] == [step("a"), step("b")]


def test_a_step_behind_another_command_of_its_table_waits_for_it() -> None:
    made = lane(pause("a"), step("a"), step("b"))
    assert [given for _, given in made.next_steps()] == [step("b")]
    made.decided()
    assert [given for _, given in made.next_steps()] == [step("a"), step("b")]


def test_a_step_is_offered_for_fetching_once() -> None:
    made = lane(step("a"))
    ((pending, _),) = made.next_steps()
    pending.response = Future[Fetched]()
    assert list(made.next_steps()) == []
    assert not made.head.ready()
    pending.response.set_result(Failure(reason="timeout", error="late"))
    assert made.head.ready()


def test_what_cannot_be_read_holds_nobody_up() -> None:
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
    made = lane(Unreadable(letter), step("a"))
    assert [given for _, given in made.next_steps()] == [step("a")]
    assert made.head.ready()


def test_cancelling_gives_up_what_has_not_begun() -> None:
    made = lane(step("a"))
    ((pending, _),) = made.next_steps()
    pending.response = Future[Fetched]()
    made.cancel()
    assert pending.response.cancelled()
    assert len(made) == 0
