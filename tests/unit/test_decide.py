"""The walk's state machine: every command against every state, and whole walks from end to end."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from producer.decide import Outcome, decide, due
from producer.responses import Failure, Fetched, ListingResponse, PagesResponse
from schemas import commands, events
from schemas.commands import AddSite, PauseWalk, Request, StartWalk, StillWaiting, TakeStep
from schemas.records import Municipality, Page
from schemas.walks import FollowUp, Position, WalkState

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
KNOWN = WalkState(site="alameda.ca", kind="minutes", revision=1, updated_at=NOW)


def request(command: type[Request], **fields: Any) -> Any:
    return command(
        site="alameda.ca", kind="minutes", command_id="c1", sent_by="test", sent_at=NOW, **fields
    )


def page(number: int, row_hash: int | None = None, **fields: Any) -> Page:
    return Page(
        site="alameda.ca",
        kind="minutes",
        id=f"{number:012x}",
        page=number,
        row_hash=number * 7 if row_hash is None else row_hash,
        hash_version=1,
        walk=1,
        step=0,
        **fields,
    )


def pages(numbers: range, following: str | None) -> PagesResponse:
    return PagesResponse(
        pages=tuple(page(number) for number in numbers),
        rejected=(),
        next=following,
        last_id=f"{numbers[-1]:012x}" if numbers else None,
        requested_at=NOW,
        seconds=0.25,
    )


def listing(numbers: range, following: str | None) -> ListingResponse:
    return ListingResponse(
        ids=tuple(f"{number:012x}" for number in numbers),
        next=following,
        requested_at=NOW + timedelta(seconds=5),
        seconds=0.1,
    )


def started() -> WalkState:
    return decide(KNOWN, request(StartWalk), None, NOW).state


def take(state: WalkState, fetched: Fetched) -> Outcome:
    step = due(state)
    assert step is not None
    return decide(state, step, fetched, NOW)


def names(outcome: Outcome) -> list[str]:
    return [type(event).__name__ for event in outcome.events]


def answer(outcome: Outcome) -> events.CommandAnswered:
    (answered,) = [e for e in outcome.events if isinstance(e, events.CommandAnswered)]
    return answered


def test_a_site_is_added_once_and_updated_afterwards() -> None:
    unknown = WalkState(site="alameda.ca", kind="minutes")
    record = Municipality(site="alameda.ca", name="Alameda")
    first = decide(unknown, request(AddSite, municipality=record), None, NOW)
    assert (first.state.revision, first.state.status) == (1, "pending")
    assert (answer(first).answer, answer(first).reason) == ("done", "site added")
    again = decide(first.state, request(AddSite, municipality=record), None, NOW)
    assert again.state == first.state
    assert again.municipality == record
    assert answer(again).reason == "site updated"


def test_a_record_of_another_site_is_refused() -> None:
    other = request(AddSite, municipality=Municipality(site="oakland.ca"))
    outcome = decide(KNOWN, other, None, NOW)
    assert (answer(outcome).answer, outcome.municipality) == ("refused", None)


def test_a_walk_of_an_unknown_site_is_refused_with_what_to_do() -> None:
    unknown = WalkState(site="alameda.ca", kind="minutes")
    outcome = decide(unknown, request(StartWalk), None, NOW)
    assert outcome.state == unknown
    assert answer(outcome).answer == "refused"
    assert "add it first" in (answer(outcome).reason or "")


def test_a_walk_starts_with_its_first_step_due() -> None:
    outcome = decide(KNOWN, request(StartWalk, rows=250), None, NOW)
    assert names(outcome) == ["CommandAnswered", "WalkStarted"]
    assert outcome.next_step == due(outcome.state)
    assert outcome.next_step == TakeStep(
        site="alameda.ca",
        kind="minutes",
        walk=1,
        step=0,
        position=Position(phase="pages"),
        rows=250,
    )
    assert answer(outcome).walk == 1


@pytest.mark.parametrize("mode", ["incremental", "verify"])
def test_a_mode_that_cannot_be_walked_yet_is_refused(mode: str) -> None:
    outcome = decide(KNOWN, request(StartWalk, mode=mode), None, NOW)
    assert (outcome.state, answer(outcome).answer) == (KNOWN, "refused")


@pytest.mark.parametrize("rows", [0, -1, 1001])
def test_rows_that_the_source_would_refuse_are_refused(rows: int) -> None:
    assert answer(decide(KNOWN, request(StartWalk, rows=rows), None, NOW)).answer == "refused"


def test_a_start_meant_after_an_older_walk_is_stale() -> None:
    outcome = decide(started(), request(StartWalk, after_walk=0), None, NOW)
    assert (outcome.state, answer(outcome).answer) == (started(), "stale")


def test_triggers_during_a_walk_become_one_follow_up_that_begins_at_its_end() -> None:
    state = started()
    for rows in (100, 300):
        outcome = decide(state, request(StartWalk, rows=rows), None, NOW)
        assert names(outcome) == ["CommandAnswered"]
        state = outcome.state
    assert state.follow_up == FollowUp(mode="full", rows=300)
    state = take(state, pages(range(2), None)).state
    ended = take(state, listing(range(2), None))
    assert names(ended) == ["SourceListed", "WalkEnded", "VerdictGiven", "WalkStarted"]
    assert (ended.state.walk, ended.state.status, ended.state.rows) == (2, "in_progress", 300)
    assert ended.state.follow_up is None
    assert ended.ended is not None
    assert (ended.ended.walk, ended.ended.status, ended.ended.pages) == (1, "unverified", 2)
    assert ended.barrier is not None
    assert ended.next_step == due(ended.state)


def every_other_request() -> list[type[Request]]:
    known = {commands.AddSite, commands.StartWalk, commands.Request, commands.Repair}
    found = {
        value
        for value in vars(commands).values()
        if isinstance(value, type) and issubclass(value, Request)
    }
    return sorted(found - known, key=lambda command: command.__name__)


@pytest.mark.parametrize("command", every_other_request())
def test_a_command_not_built_yet_is_answered_as_refused(command: type[Request]) -> None:
    given = {
        "walk": 1,
        "round": 1,
        "ids": (),
        "barrier": 1,
        "verdict": commands.Verdict(outcome="balanced"),
    }
    fields = {name: given[name] for name in command.__struct_fields__ if name in given}
    outcome = decide(started(), request(command, **fields), None, NOW)
    assert outcome.state == started()
    assert answer(outcome).answer == "refused"
    assert command.__name__ in (answer(outcome).reason or "")


def test_a_request_that_cannot_be_published_is_refused_with_a_reason_that_can_be() -> None:
    failure = Failure(reason="unpublishable", error="too large " * 1000)
    adding = request(AddSite, municipality=Municipality(site="alameda.ca"))
    refused = decide(KNOWN, adding, failure, NOW)
    assert answer(refused).answer == "refused"
    assert len(answer(refused).reason or "") == 1000
    assert (refused.state, refused.municipality) == (KNOWN, None)


def test_a_reconcilers_still_waiting_changes_nothing() -> None:
    waiting = StillWaiting(site="alameda.ca", kind="minutes", walk=1, at=NOW)
    assert decide(started(), waiting, None, NOW) == Outcome(state=started())


@pytest.mark.parametrize("field", ["walk", "step", "attempt", "rows", "position"])
def test_only_the_step_that_is_due_is_taken(field: str) -> None:
    step = due(started())
    assert step is not None
    value = Position(phase="listing") if field == "position" else getattr(step, field) + 1
    other = replace(step, **{field: value})
    assert decide(started(), other, pages(range(3), None), NOW) == Outcome(state=started())


def test_a_step_publishes_its_pages_and_accounts_for_each() -> None:
    response = replace(
        pages(range(1, 3), "b,b"), pages=(page(1, -(2**63)), page(2, -5, sanitised=("text",)))
    )
    outcome = take(started(), response)
    (walked,) = outcome.events
    assert isinstance(walked, events.StepWalked)
    assert walked.ids == (page(1).id, page(2).id)
    assert struct.unpack(">2q", walked.hashes) == (-(2**63), -5)
    assert (walked.count, walked.hash_sum) == (2, -(2**63) - 5)
    assert walked.sanitised == (page(2).id,)
    assert outcome.pages == response.pages
    assert outcome.state.position == Position(phase="pages", cursor="b,b", after=page(2).id)
    assert outcome.next_step == due(outcome.state)


def test_a_failed_request_fails_the_walk_and_keeps_its_position() -> None:
    state = take(started(), pages(range(5), "4,4")).state
    failed = take(state, Failure(reason="timeout", error="no answer in 30 s", received="<html>"))
    assert failed.state.status == "failed"
    assert failed.state.position == state.position
    assert failed.state.error == "no answer in 30 s"
    assert due(failed.state) is None
    (event,) = failed.events
    assert isinstance(event, events.WalkFailed)
    assert (event.reason, event.received, event.position) == ("timeout", "<html>", state.position)


def test_a_walk_after_a_failed_one_begins_anew() -> None:
    failed = take(started(), Failure(reason="timeout", error="late")).state
    outcome = decide(failed, request(StartWalk), None, NOW)
    assert (outcome.state.walk, outcome.state.error) == (2, None)
    assert outcome.state.position == Position(phase="pages")


def test_a_walk_ends_with_a_barrier_and_unverified_for_want_of_a_judge() -> None:
    state = take(started(), pages(range(3), None)).state
    assert state.position == Position(phase="listing")
    ended = take(state, listing(range(3), None))
    assert ended.state.status == "unverified"
    assert ended.state.position is None
    assert ended.state.listed_at == NOW + timedelta(seconds=5)
    assert (ended.state.pages, ended.state.listed, ended.state.barrier) == (3, 3, 1)
    assert ended.barrier is not None
    assert (ended.barrier.number, ended.barrier.walk) == (1, 1)
    (walk_ended,) = [e for e in ended.events if isinstance(e, events.WalkEnded)]
    assert (walk_ended.steps, walk_ended.barrier) == (2, 1)
    assert ended.next_step is None


def test_the_listing_is_a_chain() -> None:
    state = take(started(), pages(range(1), None)).state
    first = take(state, listing(range(3), "2,2"))
    second = take(first.state, listing(range(3, 5), None))
    slices = [e for e in first.events + second.events if isinstance(e, events.SourceListed)]
    assert [piece.after for piece in slices] == [None, f"{2:012x}"]
    assert [piece.last for piece in slices] == [False, True]


Turn = st.sampled_from(["page", "last", "list", "fail", "start", "double", "pause"])


@given(st.lists(Turn, max_size=60))
def test_whatever_comes_one_walk_is_active_and_its_steps_are_contiguous(turns: list[str]) -> None:
    state, revision = KNOWN, KNOWN.revision
    steps: dict[int, list[int]] = {}
    previous: TakeStep | None = None
    for number, turn in enumerate(turns):
        step = due(state)
        if turn in ("start", "pause"):
            command = request(StartWalk) if turn == "start" else request(PauseWalk, walk=1)
            outcome = decide(state, command, None, NOW)
        elif turn == "double" and previous is not None:
            outcome = decide(state, previous, pages(range(1), None), NOW)
            assert outcome == Outcome(state=state)
        elif step is not None:
            outcome = take(state, _response(turn, step, number))
            if outcome.state.status != "failed":
                steps.setdefault(step.walk, []).append(step.step)
                previous = step
        else:
            continue
        state = outcome.state
        assert outcome.next_step in (None, due(state))
        assert state.revision >= revision
        assert (state.position is None) == (state.status in ("pending", "unverified"))
        revision = state.revision
    for taken in steps.values():
        assert taken == list(range(len(taken)))


def _response(turn: str, step: TakeStep, number: int) -> Fetched:
    if turn == "fail":
        return Failure(reason="timeout", error="late")
    following = None if turn in ("last", "list") else f"cursor-{number}"
    if step.position.phase == "pages":
        return pages(range(number, number + 2), following)
    return listing(range(number, number + 2), following)
