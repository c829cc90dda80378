"""What verdicts make of walks, and what waits for them."""

from datetime import timedelta
from typing import Any

import pytest
from deciding import (
    JUDGED,
    KNOWN,
    NOW,
    answer,
    failure,
    give,
    names,
    request,
    said,
    started,
    take,
    verdict,
    verified,
    walked,
)
from msgspec.structs import replace

from producer.decide import due, timers
from schemas.commands import (
    ApproveVerdict,
    CancelWalk,
    RecordVerdict,
    RejectVerdict,
    RetryWalk,
    StartWalk,
    StillWaiting,
)
from schemas.walks import FollowUp, WalkState


def waiting(**fields: Any) -> WalkState:
    return walked(started(JUDGED, **fields), JUDGED).state


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("balanced", "completed"),
        ("repaired", "completed"),
        ("incomplete", "completed"),
        ("second_look", "held"),
        ("shrunk", "held"),
        ("torn", "failed"),
        ("unverifiable", "in_progress"),
        ("unverified", "unverified"),
    ],
)
def test_each_verdict_ends_the_walk_in_its_status(outcome: str, status: str) -> None:
    state = waiting()
    given = give(state, verdict(state, outcome), JUDGED)
    assert given.state.status == status
    assert "VerdictGiven" in names(given)
    ended = given.ended or given.state
    assert (ended.verdict, ended.expected, ended.stored) == (outcome, 3, 3)
    if status == "completed":
        assert given.state.verified_at == state.listed_at
        assert given.state.full_verified
    else:
        assert given.state.verified_at is None
        assert not given.state.full_verified


def test_absent_is_for_the_walker_alone() -> None:
    state = waiting()
    assert said(give(state, verdict(state, "absent"), JUDGED)) == "refused"


@pytest.mark.parametrize("field", ["walk", "barrier"])
def test_a_verdict_on_something_else_is_stale(field: str) -> None:
    state = waiting()
    other = verdict(state, "balanced", **{field: getattr(state, field) + 1})
    outcome = give(state, other, JUDGED)
    assert (said(outcome), outcome.state) == ("stale", state)


def test_a_second_verdict_is_stale() -> None:
    state = waiting()
    ended = give(state, verdict(state, "balanced"), JUDGED).state
    again = give(ended, verdict(state, "torn"), JUDGED)
    assert (said(again), again.state) == ("stale", ended)


def test_triggers_wait_for_the_verdict() -> None:
    state = give(waiting(), request(StartWalk, mode="full"), JUDGED).state
    assert state.status == "verifying"
    outcome = give(state, verdict(state, "balanced"), JUDGED)
    assert (outcome.state.walk, outcome.state.mode) == (2, "full")
    assert names(outcome) == ["CommandAnswered", "VerdictGiven", "WalkStarted"]
    assert outcome.ended is not None
    assert outcome.ended.status == "completed"


def test_the_waiting_ends_by_a_timer_unless_somebody_says_that_they_work_on_it() -> None:
    state = waiting()
    (timer,) = [t for t in timers(state, JUDGED) if isinstance(t.command, RecordVerdict)]
    assert timer.at == NOW + timedelta(seconds=900)
    still = StillWaiting(site="alameda.ca", kind="minutes", walk=1, at=NOW)
    later = NOW + timedelta(seconds=600)
    longer = give(state, still, JUDGED, later).state
    assert longer.verdict_due_at == later + timedelta(seconds=900)
    assert said(give(longer, timer.command, JUDGED)) == "stale"
    (timer,) = [t for t in timers(longer, JUDGED) if isinstance(t.command, RecordVerdict)]
    ended = give(longer, timer.command, JUDGED)
    assert ended.ended is not None
    assert (ended.ended.status, ended.ended.verdict) == ("failed", "unverifiable")
    assert "within 900 s" in (ended.ended.error or "")


def test_a_walk_that_nobody_judged_is_followed_by_one_look_and_then_by_rarer_ones() -> None:
    state, waits = waiting(), []
    for _ in range(4):
        outcome = give(state, verdict(state, "unverifiable"), JUDGED)
        if outcome.state.status == "in_progress":
            waits.append(0.0)
            state = outcome.state
        else:
            assert outcome.state.next_walk_mode == "verify"
            assert outcome.state.next_walk_at is not None
            waits.append((outcome.state.next_walk_at - NOW).total_seconds())
            state = started(JUDGED, outcome.state, mode="verify")
        assert state.mode == "verify"
        state = walked(state, JUDGED).state
    assert waits[0] == 0.0
    assert [round(wait / 1800) for wait in waits[1:]] == [2, 4, 8]


def test_the_verify_walk_that_settles_a_full_one_verifies_the_table() -> None:
    state = waiting()
    following = give(state, verdict(state, "unverifiable"), JUDGED).state
    assert not following.full_verified
    state = walked(following, JUDGED).state
    settled = give(state, verdict(state, "balanced"), JUDGED).state
    assert settled.full_verified
    assert started(JUDGED, settled).mode == "incremental"


def test_a_verify_walk_alone_does_not_make_up_for_a_full_one() -> None:
    state = waiting(mode="verify")
    settled = give(state, verdict(state, "balanced"), JUDGED).state
    assert (settled.status, settled.full_verified) == ("completed", False)


def test_a_held_walk_is_looked_at_again_and_released_by_a_person() -> None:
    state = waiting()
    held = give(state, verdict(state, "shrunk"), JUDGED).state
    assert held.next_walk_mode == "verify"
    assert held.next_walk_at is not None
    assert 3600 <= (held.next_walk_at - NOW).total_seconds() <= 3960
    approved = give(held, request(ApproveVerdict, walk=1), JUDGED).state
    assert (approved.status, approved.next_walk_at) == ("verifying", None)
    assert approved.verdict_due_at == NOW + timedelta(seconds=900)
    assert give(approved, verdict(approved, "repaired"), JUDGED).state.status == "completed"
    rejected = give(held, request(RejectVerdict, walk=1), JUDGED)
    assert (rejected.state.status, said(rejected)) == ("held", "done")


@pytest.mark.parametrize("command", [ApproveVerdict, RejectVerdict])
def test_only_a_held_walk_is_released(command: Any) -> None:
    state = waiting()
    outcome = give(state, request(command, walk=1), JUDGED)
    assert (said(outcome), outcome.state) == ("stale", state)


def test_a_cancelled_walk_takes_no_verdict() -> None:
    state = waiting()
    cancelled = give(state, request(CancelWalk, walk=1), JUDGED).state
    assert said(give(cancelled, verdict(state, "balanced"), JUDGED)) == "stale"


def test_a_walk_that_failed_by_its_verdict_is_tried_again_by_another_look() -> None:
    state = waiting()
    torn = give(state, verdict(state, "torn"), JUDGED).state
    assert (torn.status, torn.error) == ("failed", "torn")
    outcome = give(torn, request(RetryWalk, walk=1), JUDGED)
    assert (outcome.state.walk, outcome.state.mode) == (2, "verify")
    assert outcome.next_command == due(outcome.state)
    assert "looks at it again" in (answer(outcome).reason or "")


def test_what_waits_begins_although_the_walk_before_is_held() -> None:
    state = replace(waiting(), follow_up=FollowUp(mode="full", rows=1000))
    outcome = give(state, verdict(state, "second_look"), JUDGED)
    assert (outcome.state.walk, outcome.state.status) == (2, "in_progress")


def test_an_absent_table_never_was_verified() -> None:
    absent = take(started(JUDGED), failure("not_found"), JUDGED).state
    assert (absent.verified_at, absent.full_verified) == (None, False)


def test_when_a_table_was_last_verified_is_kept_while_it_is_walked() -> None:
    known = verified(KNOWN)
    assert started(JUDGED, known).verified_at == known.verified_at is not None
