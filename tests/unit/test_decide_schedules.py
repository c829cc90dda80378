"""When a table is walked by itself: rhythms, jitter, and what a clock that jumps makes of them."""

from datetime import datetime, timedelta

import pytest
from deciding import (
    KNOWN,
    NOW,
    failure,
    give,
    request,
    said,
    started,
    take,
    verified,
    walked,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from producer.decide import Timer, timers
from producer.policy import Policy
from schemas.commands import AddSite, PauseWalk, RemoveSite, SetSchedule, StartWalk
from schemas.records import Municipality
from schemas.walks import Schedule, WalkState

DAY = timedelta(days=1)
USUAL = Policy(
    schedule=Schedule(
        full_every=90 * 86_400.0, incremental_every=86_400.0, verify_every=7 * 86_400.0
    )
)


def added(at: datetime = NOW) -> WalkState:
    unknown = WalkState(site="alameda.ca", kind="minutes")
    command = request(AddSite, municipality=Municipality(site="alameda.ca"))
    return give(unknown, command, USUAL, at).state


def planned(state: WalkState, policy: Policy = USUAL) -> Timer:
    (timer,) = timers(state, policy)
    assert isinstance(timer.command, StartWalk)
    return timer


def test_a_new_table_is_walked_for_the_first_time_when_its_first_rhythm_comes_round() -> None:
    timer = planned(added())
    assert NOW + DAY <= timer.at <= NOW + 1.1 * DAY
    assert isinstance(timer.command, StartWalk)
    assert (timer.command.mode, timer.command.due_at) == ("auto", timer.at)
    begun = give(added(), timer.command, USUAL, timer.at)
    assert (begun.state.walk, begun.state.mode) == (1, "full")


def test_the_schedules_start_is_taken_once() -> None:
    timer = planned(added())
    begun = give(added(), timer.command, USUAL, timer.at).state
    again = give(begun, timer.command, USUAL, timer.at)
    assert (said(again), again.state) == ("stale", begun)


def test_a_start_of_a_time_that_was_set_anew_is_stale() -> None:
    timer = planned(added())
    changed = give(added(), request(SetSchedule, schedule=Schedule(full_every=60.0)), USUAL).state
    outcome = give(changed, timer.command, USUAL)
    assert (said(outcome), outcome.state) == ("stale", changed)


def test_a_full_walk_counts_for_the_weaker_ones() -> None:
    state = walked(give(added(), request(StartWalk, mode="full"), USUAL).state, USUAL).state
    timer = planned(state)
    assert isinstance(timer.command, StartWalk)
    assert timer.command.mode == "auto"
    assert NOW + DAY <= timer.at <= NOW + 1.1 * DAY
    never = replace(state, schedule=Schedule(full_every=86_400.0, verify_every=86_400.0))
    later = give(never, request(SetSchedule, schedule=never.schedule), USUAL).state
    assert later.next_walk_mode == "full"


def test_nothing_is_planned_while_a_walk_is_active_or_the_site_is_gone() -> None:
    running = started(USUAL, added())
    assert list(timers(running, USUAL)) == []
    assert list(timers(give(running, request(PauseWalk, walk=1), USUAL).state, USUAL)) == []
    assert list(timers(give(added(), request(RemoveSite), USUAL).state, USUAL)) == []


def test_a_failed_walk_is_walked_anew_by_schedule() -> None:
    failed = take(started(USUAL, added()), failure("refused"), USUAL).state
    timer = planned(failed)
    begun = give(failed, timer.command, USUAL, timer.at)
    assert (begun.state.walk, begun.state.status) == (2, "in_progress")


def test_what_is_late_is_made_up_for_soon_and_not_by_all_at_once() -> None:
    late = NOW + 30 * DAY
    ends = []
    for number in range(50):
        known = replace(verified(), site=f"site{number}.ca")
        state = give(replace(known, full_at=NOW), request(SetSchedule), USUAL, late).state
        assert state.next_walk_at is not None
        ends.append((state.next_walk_at - late).total_seconds())
    assert 0 <= min(ends) < max(ends) <= 600
    assert len({round(end) for end in ends}) > 30


def test_never_means_never() -> None:
    state = give(added(), request(SetSchedule, schedule=Schedule()), USUAL).state
    assert (state.next_walk_at, state.next_walk_mode) == (None, None)
    assert list(timers(state, USUAL)) == []


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_delays_no_walk_beyond_its_rhythm(hours: int) -> None:
    state = walked(started(USUAL, added()), USUAL).state
    timer = planned(state)
    jumped = NOW + timedelta(hours=hours)
    assert min((timer.at - jumped).total_seconds(), timer.seconds) <= 1.1 * 86_400.0


@given(
    every=st.floats(1.0, 1e7),
    since=st.floats(0.0, 1e7),
    site=st.integers(0, 10**6),
)
def test_the_next_walk_lies_ahead_and_within_a_rhythm(
    every: float, since: float, site: int
) -> None:
    policy = Policy(schedule=Schedule(incremental_every=every))
    known = replace(KNOWN, site=f"s{site}", incremental_at=NOW - timedelta(seconds=since))
    state = give(known, request(SetSchedule, site=known.site), policy).state
    assert state.next_walk_at is not None
    wait = (state.next_walk_at - NOW).total_seconds()
    assert -1e-3 <= wait <= 1.1 * every + 1e-3
    assert (
        state.next_walk_at
        == give(known, request(SetSchedule, site=known.site), policy).state.next_walk_at
    )
    (timer,) = timers(state, policy)
    assert timer.seconds >= wait - 1e-3
