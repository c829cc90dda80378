"""What an operator may ask of a table: each request in each status, answered, and once."""

from typing import Any

import pytest
from deciding import (
    ALONE,
    JUDGED,
    KNOWN,
    NOW,
    answer,
    answers,
    failure,
    give,
    names,
    page_id,
    pages,
    request,
    said,
    started,
    take,
    verdict,
    walked,
)
from msgspec.structs import replace

from producer.decide import Outcome, decide, due
from schemas.commands import (
    AddSite,
    CancelWalk,
    ForceFull,
    PauseWalk,
    RemoveSite,
    Request,
    ResumeWalk,
    RetryWalk,
    SetSchedule,
    StartWalk,
)
from schemas.records import Municipality
from schemas.walks import Position, Schedule, Status, WalkState

NAMED = "oakland"
RECORD = Municipality(site="alameda.ca", name="Alameda")


def failed() -> WalkState:
    state = take(started(), pages(range(2), "1,1")).state
    return take(state, failure("refused")).state


def held() -> WalkState:
    waiting = walked(started(JUDGED), JUDGED).state
    return give(waiting, verdict(waiting, "shrunk"), JUDGED).state


STATES: dict[Status, WalkState] = {
    "pending": KNOWN,
    "in_progress": started(),
    "verifying": walked(started(JUDGED), JUDGED).state,
    "paused": give(started(), request(PauseWalk, walk=1)).state,
    "failed": failed(),
    "cancelled": give(started(), request(CancelWalk, walk=1)).state,
    "completed": give(
        walked(started(JUDGED), JUDGED).state,
        verdict(walked(started(JUDGED), JUDGED).state, "balanced"),
        JUDGED,
    ).state,
    "unverified": walked(started()).state,
    "held": held(),
    "removed": give(walked(started()).state, request(RemoveSite)).state,
}


def test_there_is_a_state_of_every_status() -> None:
    assert {status: state.status for status, state in STATES.items()} == {s: s for s in STATES}
    assert set(STATES) == set(Status.__args__)  # type: ignore[attr-defined]


BECOMES: dict[type[Request], dict[str, tuple[str, str]]] = {
    PauseWalk: {"in_progress": ("done", "paused"), "paused": ("done", "paused")},
    ResumeWalk: {"in_progress": ("done", "in_progress"), "paused": ("done", "in_progress")},
    CancelWalk: dict.fromkeys(
        ("in_progress", "verifying", "paused", "failed", "held", "cancelled"), ("done", "cancelled")
    ),
    RetryWalk: {"in_progress": ("done", "in_progress"), "failed": ("done", "in_progress")},
}


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("command", BECOMES)
def test_each_control_in_each_status(command: type[Request], status: Status) -> None:
    state = STATES[status]
    outcome = give(state, request(command, walk=state.walk))
    expected = BECOMES[command].get(status, ("refused", status))
    assert (said(outcome), outcome.state.status) == expected
    if said(outcome) == "refused":
        assert outcome.state == state


@pytest.mark.parametrize("command", BECOMES)
def test_a_control_meant_for_another_walk_is_stale(command: type[Request]) -> None:
    for status in ("in_progress", "paused", "failed"):
        state = STATES[status]
        outcome = give(state, request(command, walk=state.walk + 1))
        assert (outcome.state, said(outcome)) == (state, "stale")


def every_request() -> list[Any]:
    return [
        request(AddSite, municipality=RECORD),
        request(RemoveSite),
        request(StartWalk),
        request(PauseWalk, walk=1),
        request(ResumeWalk, walk=1),
        request(CancelWalk, walk=1),
        request(RetryWalk, walk=1),
        request(ForceFull),
        request(SetSchedule, schedule=Schedule(full_every=60.0)),
    ]


@pytest.mark.parametrize("command", every_request(), ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("status", STATES)
def test_what_was_done_is_not_done_again_when_it_comes_twice(status: Status, command: Any) -> None:
    first = give(STATES[status], command)
    again = give(first.state, command)
    assert again.state == first.state
    assert said(again) == ("stale" if answers(first)[-1].answer == "done" else said(first))


@pytest.mark.parametrize("command", every_request()[1:], ids=lambda c: type(c).__name__)
def test_an_unknown_site_takes_nothing_but_being_added(command: Any) -> None:
    unknown = WalkState(site="alameda.ca", kind="minutes")
    outcome = give(unknown, command)
    assert (outcome.state, said(outcome)) == (unknown, "refused")


def test_a_paused_walk_goes_on_at_the_very_step() -> None:
    running = take(started(), pages(range(2), "1,1")).state
    paused = give(running, request(PauseWalk, walk=1))
    assert due(paused.state) is None
    assert paused.next_command is None
    late = due(running)
    assert late is not None
    assert decide(paused.state, late, pages(range(2, 4)), NOW, ALONE) == Outcome(state=paused.state)
    resumed = give(paused.state, request(ResumeWalk, walk=1))
    assert resumed.next_command == due(running) == due(resumed.state)


def test_a_failed_walk_goes_on_at_the_very_step() -> None:
    state = failed()
    assert state.position == Position(phase="pages", cursor="1,1", after=page_id(1))
    assert state.next_walk_at is None
    outcome = give(state, request(RetryWalk, walk=1))
    assert (outcome.state.status, outcome.state.error) == ("in_progress", None)
    assert outcome.state.position == state.position
    assert outcome.next_command == due(outcome.state)
    assert outcome.state.last_error == "it was refused"


def test_a_walk_that_waits_to_be_tried_again_is_tried_at_once() -> None:
    waiting = take(started(), failure("timeout")).state
    assert waiting.retry_at is not None
    outcome = give(waiting, request(RetryWalk, walk=1))
    assert (outcome.state.retry_at, outcome.state.attempt) == (None, 0)
    assert outcome.next_command == due(outcome.state)


def test_cancelling_drops_the_follow_up_and_what_was_due() -> None:
    state = give(started(), request(StartWalk)).state
    outcome = give(state, request(CancelWalk, walk=1))
    assert (outcome.state.position, outcome.state.follow_up) == (None, None)
    assert due(outcome.state) is None


def test_a_site_is_added_once_and_updated_afterwards() -> None:
    unknown = WalkState(site="alameda.ca", kind="minutes")
    first = give(unknown, request(AddSite, municipality=RECORD))
    assert (first.state.revision, first.state.status) == (1, "pending")
    assert (said(first), answer(first).reason) == ("done", "site added")
    again = give(first.state, request(AddSite, municipality=RECORD, secret=NAMED))
    assert again.state.secret == NAMED
    assert again.municipality == RECORD
    assert answer(again).reason == "site updated"


def test_a_sites_secret_is_named_in_its_steps() -> None:
    added = give(KNOWN, request(AddSite, municipality=RECORD, secret=NAMED)).state
    step = due(started(known=added))
    assert step is not None
    assert step.secret == NAMED


def test_a_record_of_another_site_is_refused() -> None:
    other = request(AddSite, municipality=Municipality(site="oakland.ca"))
    outcome = give(KNOWN, other)
    assert (said(outcome), outcome.municipality) == ("refused", None)


def test_a_request_that_cannot_be_published_is_refused_with_a_reason_that_can_be() -> None:
    unpublishable = replace(failure("unpublishable"), error="too large " * 1000)
    refused = decide(KNOWN, request(AddSite, municipality=RECORD), unpublishable, NOW, ALONE)
    assert said(refused) == "refused"
    assert len(answer(refused).reason or "") == 1000
    assert (refused.state, refused.municipality) == (KNOWN, None)


def test_a_removed_site_loses_its_rows_and_whatever_was_due() -> None:
    flagged = replace(RECORD, removed=True)
    running = give(started(), request(StartWalk)).state
    outcome = give(running, request(RemoveSite, municipality=flagged))
    assert names(outcome) == ["CommandAnswered"]
    assert outcome.site_removed is not None
    assert outcome.municipality == flagged
    assert outcome.state.status == "removed"
    assert due(outcome.state) is None
    assert (outcome.state.follow_up, outcome.state.next_walk_at) == (None, None)
    again = give(outcome.state, request(RemoveSite, municipality=flagged))
    assert (said(again), again.site_removed) == ("done", None)


@pytest.mark.parametrize(
    "record", [RECORD, Municipality(site="oakland.ca", removed=True)], ids=["flag", "site"]
)
def test_a_removal_with_a_record_that_does_not_fit_is_refused(record: Municipality) -> None:
    assert said(give(KNOWN, request(RemoveSite, municipality=record))) == "refused"


def test_a_removed_site_can_be_added_again_and_numbers_go_on() -> None:
    removed = STATES["removed"]
    added = give(removed, request(AddSite, municipality=RECORD)).state
    assert (added.status, added.walk, added.barrier) == ("pending", 1, 1)
    assert not added.held_rows
    following = started(known=added)
    assert (following.walk, walked(following).state.barrier) == (2, 2)


def test_a_schedule_is_set_and_taken_back() -> None:
    daily = Schedule(full_every=86_400.0)
    scheduled = give(KNOWN, request(SetSchedule, schedule=daily)).state
    assert scheduled.schedule == daily
    assert scheduled.next_walk_at is not None
    own = give(scheduled, request(SetSchedule)).state
    assert (own.schedule, own.next_walk_at) == (None, None)


@pytest.mark.parametrize("seconds", [0.5, 4e8, 1e12, 1e300, float("nan")])
def test_a_schedule_that_would_flood_or_has_no_date_is_refused(seconds: float) -> None:
    outcome = give(KNOWN, request(SetSchedule, schedule=Schedule(verify_every=seconds)))
    assert (said(outcome), outcome.state) == ("refused", KNOWN)
