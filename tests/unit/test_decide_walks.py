"""The walk's state machine: how walks begin, step, list and end."""

import struct
from datetime import timedelta

import pytest
from deciding import (
    ALONE,
    JUDGED,
    KNOWN,
    NOW,
    answer,
    failure,
    give,
    listing,
    names,
    page,
    page_id,
    pages,
    request,
    said,
    started,
    take,
    verdict,
    verified,
    walked,
)
from msgspec.structs import replace

from producer.decide import Outcome, decide, due, fetchable
from producer.policy import policy_of
from runtime.settings import Settings
from schemas import events
from schemas.commands import ForceFull, StartWalk, StillWaiting, TakeStep
from schemas.walks import FollowUp, Position, WalkState


def test_a_walk_of_an_unknown_site_is_refused_with_what_to_do() -> None:
    unknown = WalkState(site="alameda.ca", kind="minutes")
    outcome = give(unknown, request(StartWalk))
    assert outcome.state == unknown
    assert said(outcome) == "refused"
    assert "add it first" in (answer(outcome).reason or "")


def test_a_walk_starts_with_its_first_step_due() -> None:
    outcome = give(KNOWN, request(StartWalk, rows=250))
    assert names(outcome) == ["CommandAnswered", "WalkStarted"]
    assert outcome.next_command == due(outcome.state)
    assert outcome.next_command == TakeStep(
        site="alameda.ca",
        kind="minutes",
        walk=1,
        step=0,
        position=Position(phase="pages"),
        rows=250,
    )
    assert answer(outcome).walk == 1


@pytest.mark.parametrize("rows", [0, -1, 1001])
def test_rows_that_the_source_would_refuse_are_refused(rows: int) -> None:
    assert said(give(KNOWN, request(StartWalk, rows=rows))) == "refused"


def test_a_start_meant_after_an_older_walk_is_stale() -> None:
    state = started()
    outcome = give(state, request(StartWalk, after_walk=0))
    assert (outcome.state, said(outcome)) == (state, "stale")


def test_a_start_sent_twice_starts_once() -> None:
    command = request(StartWalk)
    first = give(KNOWN, command)
    again = give(first.state, command)
    assert (again.state, said(again)) == (first.state, "stale")


def test_auto_is_full_until_a_full_walk_was_verified_and_incremental_from_then_on() -> None:
    assert started().mode == "full"
    unverified = walked(started()).state
    assert started(known=unverified).mode == "full"
    incremental = started(JUDGED, verified())
    assert incremental.mode == "incremental"
    assert incremental.window == ("2025-11-05", "2026-10-31")
    assert started(replace(JUDGED, window_days=1), verified()).window == (
        "2026-05-03",
        "2026-05-05",
    )


def test_the_window_is_frozen_when_the_walk_begins() -> None:
    state = started(JUDGED, verified())
    later = take(state, pages(range(2), "1,1"), JUDGED, NOW + timedelta(days=3)).state
    step = due(later)
    assert isinstance(step, TakeStep)
    assert step.window == state.window == ("2025-11-05", "2026-10-31")


@pytest.mark.parametrize("mode", ["full", "incremental", "verify"])
def test_a_mode_that_was_named_is_walked(mode: str) -> None:
    for known in (KNOWN, verified()):
        assert started(known=known, mode=mode).mode == mode


def test_a_verify_walk_lists_ids_and_fetches_no_page() -> None:
    state = started(mode="verify")
    assert state.position == Position(phase="listing")
    ended = take(state, listing(range(3)))
    assert (ended.state.status, ended.state.steps, ended.state.listed) == ("unverified", 1, 3)
    assert not ended.pages


def test_a_forced_full_walk_is_one_that_begins_after_it_and_is_verified() -> None:
    running = started(JUDGED, verified(), mode="full")
    forced = give(running, request(ForceFull), JUDGED).state
    assert forced.full_forced
    waiting = walked(forced, JUDGED).state
    done = give(waiting, verdict(waiting, "balanced"), JUDGED).state
    assert done.status == "completed"
    assert done.full_forced, "this walk began before it was forced"
    following = started(JUDGED, done)
    assert following.mode == "full"
    waiting = walked(following, JUDGED).state
    assert waiting.full_forced
    done = give(waiting, verdict(waiting, "balanced"), JUDGED).state
    assert not done.full_forced
    assert started(JUDGED, done).mode == "incremental"


def test_triggers_during_a_walk_become_one_follow_up_that_begins_at_its_end() -> None:
    state = started()
    for rows in (100, 300):
        outcome = give(state, request(StartWalk, rows=rows))
        assert names(outcome) == ["CommandAnswered"]
        state = outcome.state
    assert state.follow_up == FollowUp(mode="auto", rows=300)
    ended = walked(state, numbers=range(2))
    assert names(ended) == ["SourceListed", "WalkEnded", "VerdictGiven", "WalkStarted"]
    assert (ended.state.walk, ended.state.status, ended.state.rows) == (2, "in_progress", 300)
    assert ended.state.follow_up is None
    assert ended.ended is not None
    assert (ended.ended.walk, ended.ended.status, ended.ended.pages) == (1, "unverified", 2)
    assert ended.barrier is not None
    assert ended.next_command == due(ended.state)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("verify", "incremental", "incremental"),
        ("full", "verify", "full"),
        ("auto", "incremental", "auto"),
        ("auto", "full", "full"),
    ],
)
def test_the_follow_up_keeps_the_strongest_mode(first: str, second: str, kept: str) -> None:
    state = started()
    for mode in (first, second):
        state = give(state, request(StartWalk, mode=mode)).state
    assert state.follow_up is not None
    assert state.follow_up.mode == kept


def test_a_follow_up_of_mode_auto_is_resolved_when_it_begins() -> None:
    state = give(started(JUDGED), request(StartWalk), JUDGED).state
    waiting = walked(state, JUDGED).state
    assert waiting.status == "verifying"
    following = give(waiting, verdict(waiting, "balanced"), JUDGED).state
    assert (following.walk, following.mode) == (2, "incremental")


def test_a_reconcilers_still_waiting_changes_nothing_of_a_walk_that_takes_steps() -> None:
    state = started()
    waiting = StillWaiting(site="alameda.ca", kind="minutes", walk=1, at=NOW)
    assert give(state, waiting) == Outcome(state=state)


@pytest.mark.parametrize(
    "field", ["walk", "step", "attempt", "rows", "position", "window", "secret", "due_at"]
)
def test_only_the_step_that_is_due_is_taken(field: str) -> None:
    state = started()
    step = due(state)
    assert isinstance(step, TakeStep)
    values = {
        "position": Position(phase="listing"),
        "window": ("2026-01-01", "2026-02-01"),
        "secret": "other",
        "due_at": NOW,
    }
    other = replace(step, **{field: values.get(field) or getattr(step, field) + 1})
    assert not fetchable(state, other)
    assert fetchable(state, step)
    assert decide(state, other, pages(range(3)), NOW, ALONE) == Outcome(state=state)


def test_a_step_publishes_its_pages_and_accounts_for_each() -> None:
    response = replace(
        pages(range(1, 3), "b,b"), pages=(page(1, -(2**63)), page(2, -5, sanitised=("text",)))
    )
    outcome = take(started(), response)
    (walked_step,) = outcome.events
    assert isinstance(walked_step, events.StepWalked)
    assert walked_step.ids == (page_id(1), page_id(2))
    assert struct.unpack(">2q", walked_step.hashes) == (-(2**63), -5)
    assert (walked_step.count, walked_step.hash_sum) == (2, -(2**63) - 5)
    assert walked_step.sanitised == (page_id(2),)
    assert outcome.pages == response.pages
    assert outcome.state.position == Position(phase="pages", cursor="b,b", after=page_id(2))
    assert outcome.next_command == due(outcome.state)


def test_a_walk_after_a_failed_one_begins_anew() -> None:
    failed = take(started(), failure("refused")).state
    assert failed.status == "failed"
    outcome = give(failed, request(StartWalk))
    assert (outcome.state.walk, outcome.state.error) == (2, None)
    assert outcome.state.position == Position(phase="pages")


def test_a_walk_ends_with_a_barrier_and_unverified_where_nobody_judges() -> None:
    state = take(started(), pages(range(3))).state
    assert state.position == Position(phase="listing")
    ended = take(state, listing(range(3)))
    assert ended.state.status == "unverified"
    assert ended.state.position is None
    assert ended.state.listed_at == NOW + timedelta(seconds=5)
    assert (ended.state.pages, ended.state.listed, ended.state.barrier) == (3, 3, 1)
    assert ended.barrier is not None
    assert (ended.barrier.number, ended.barrier.walk) == (1, 1)
    (walk_ended,) = [e for e in ended.events if isinstance(e, events.WalkEnded)]
    assert (walk_ended.steps, walk_ended.barrier) == (2, 1)
    assert ended.next_command is None


def test_a_walk_that_is_judged_waits_for_its_verdict() -> None:
    ended = walked(started(JUDGED), JUDGED)
    assert ended.state.status == "verifying"
    assert ended.state.verdict_due_at == NOW + timedelta(seconds=900)
    assert names(ended) == ["SourceListed", "WalkEnded"]
    assert due(ended.state) is None


def test_the_listing_is_a_chain() -> None:
    state = take(started(), pages(range(1))).state
    first = take(state, listing(range(3), "2,2"))
    second = take(first.state, listing(range(3, 5), after=page_id(2)))
    slices = [e for e in first.events + second.events if isinstance(e, events.SourceListed)]
    assert [piece.after for piece in slices] == [None, page_id(2)]
    assert [piece.last for piece in slices] == [False, True]
    assert second.state.listed == 5


def test_a_listing_that_begins_anew_counts_anew() -> None:
    state = take(started(), pages(range(1))).state
    by_sql = replace(listing(range(3), "x"), listed_by="sql")
    first = take(state, by_sql)
    assert first.state.position is not None
    assert first.state.position.listed_by == "sql"
    anew = replace(listing(range(2), "1,1"), requested_at=NOW + timedelta(seconds=60))
    second = take(first.state, anew)
    assert second.state.position is not None
    assert (second.state.listed, second.state.position.listed_by) == (2, "paging")
    assert second.state.listed_at == NOW + timedelta(seconds=60)


def test_fewer_rows_are_asked_for_after_a_slow_query_and_more_again_later() -> None:
    state = take(started(rows=1000), failure("interrupted")).state
    assert (state.size, state.attempt, state.status) == (500, 0, "in_progress")
    for number in range(10):
        assert state.size == 500
        state = take(state, pages(range(number, number + 1), f"cursor-{number}")).state
    assert state.size == 1000


def test_rows_are_halved_down_to_fifty_and_then_it_is_a_failure() -> None:
    state, sizes = started(rows=1000), []
    while state.retry_at is None:
        sizes.append(state.size)
        state = take(state, failure("interrupted")).state
    assert sizes == [1000, 500, 250, 125, 62, 50]
    assert (state.attempt, state.size) == (1, 50)


def test_a_response_that_is_too_large_is_halved_down_to_one_row() -> None:
    state, sizes = started(rows=4), []
    while state.retry_at is None:
        sizes.append(state.size)
        state = take(state, failure("too_large")).state
    assert sizes == [4, 2, 1]


def test_a_table_that_never_was_is_absent() -> None:
    outcome = take(started(JUDGED), failure("not_found"), JUDGED)
    assert (outcome.state.status, outcome.state.verdict) == ("completed", "absent")
    assert names(outcome) == ["VerdictGiven"]
    assert not outcome.state.full_verified
    assert started(JUDGED, outcome.state).mode == "full"


def test_a_table_that_held_rows_and_is_gone_is_a_failure() -> None:
    held = started(JUDGED, verified(), mode="full")
    assert take(held, failure("not_found"), JUDGED).state.attempt == 1
    midway = take(started(), pages(range(2), "1,1")).state
    assert take(midway, failure("not_found")).state.attempt == 1


def test_the_policy_is_that_of_the_settings() -> None:
    policy = policy_of(
        Settings(retry_waits=(3.0,), window_days=7, verdict_timeout=5, full_every=60)
    )
    assert policy.retry_waits == (3.0,)
    assert (policy.window_days, policy.verdict_timeout) == (7, 5.0)
    assert policy.schedule.full_every == 60
