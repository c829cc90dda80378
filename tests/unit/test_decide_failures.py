"""What failures of the source make of a walk: tried again by a timer, waited out, or failed."""

from datetime import timedelta

import pytest
from deciding import ALONE, NOW, failure, listing, names, pages, started, take
from msgspec.structs import replace

from producer.decide import Outcome, decide, due, timers
from producer.policy import Policy
from schemas import events

_TRIED_AGAIN = (
    "timeout",
    "unreachable",
    "tls",
    "server_error",
    "broken_response",
    "not_found",
    "unexpected",
)


@pytest.mark.parametrize("reason", _TRIED_AGAIN)
def test_a_failure_is_tried_again_after_each_wait_and_then_fails_the_walk(reason: str) -> None:
    state = take(started(), pages(range(5), "4,4")).state
    position = state.position
    for number, seconds in enumerate((1.0, 2.0, 4.0)):
        outcome = take(state, failure(reason))
        state = outcome.state
        assert (state.status, state.attempt) == ("in_progress", number + 1)
        assert state.retry_at == NOW + timedelta(seconds=seconds)
        assert state.retry_seconds == seconds
        assert outcome.next_command is None, "its timer gives it"
        assert not outcome.events
        (timer,) = timers(state, ALONE)
        assert (timer.at, timer.seconds, timer.command) == (state.retry_at, seconds, due(state))
    failed = take(state, replace(failure(reason), received="<html>"))
    assert (failed.state.status, failed.state.error) == ("failed", f"it was {reason}")
    assert failed.state.position == position
    assert failed.state.retries == 3
    assert due(failed.state) is None
    (event,) = failed.events
    assert isinstance(event, events.WalkFailed)
    assert (event.reason, event.received, event.position) == (reason, "<html>", position)
    assert event.attempt == 3


@pytest.mark.parametrize("reason", ["refused", "no_such_site", "unpublishable", "kills_worker"])
def test_what_no_further_try_would_change_fails_at_once(reason: str) -> None:
    outcome = take(started(), failure(reason))
    assert (outcome.state.status, outcome.state.attempt) == ("failed", 0)
    assert names(outcome) == ["WalkFailed"]


def test_the_waits_are_a_setting() -> None:
    policy = Policy(retry_waits=(7.0,))
    state = take(started(), failure(), policy).state
    assert state.retry_seconds == 7.0
    assert take(state, failure(), policy).state.status == "failed"
    assert take(started(), failure(), Policy(retry_waits=())).state.status == "failed"


def test_a_retrys_step_is_due_with_its_time_and_no_other_is() -> None:
    state = take(started(), failure()).state
    step = due(state)
    assert step is not None
    assert (step.attempt, step.due_at) == (1, state.retry_at)
    for other in (replace(step, due_at=None), replace(step, attempt=0), replace(step, due_at=NOW)):
        assert decide(state, other, pages(range(1)), NOW, ALONE) == Outcome(state=state)


def test_a_sound_response_ends_the_trouble() -> None:
    state = take(take(started(), failure()).state, pages(range(2), "1,1")).state
    assert (state.attempt, state.retry_at, state.error) == (0, None, None)
    assert (state.retries, state.last_error) == (1, "it was timeout")
    assert take(state, failure()).state.attempt == 1


def test_being_told_to_wait_is_no_try() -> None:
    state = started()
    for number in range(20):
        state = take(state, failure("rate_limited", retry_after=30.0)).state
        assert (state.status, state.attempt, state.retries) == ("in_progress", 0, 0)
        assert state.retry_at == NOW + timedelta(seconds=30 if number < 2 else 900)
    assert state.refusals == 20
    assert take(state, pages(range(1), "0,0")).state.refusals == 0


def test_without_a_word_on_how_long_it_waits_a_minute_and_after_three_a_quarter_of_an_hour() -> (
    None
):
    state, waits = started(), []
    for _ in range(4):
        state = take(state, failure("rate_limited")).state
        waits.append(state.retry_seconds)
    assert waits == [61.0, 61.0, 900.0, 900.0]


def test_the_tries_of_a_step_count_although_it_was_told_to_wait_between_them() -> None:
    state = take(started(), failure()).state
    state = take(state, failure("rate_limited")).state
    assert state.attempt == 1
    assert take(state, failure()).state.attempt == 2


def test_a_listing_that_fails_is_tried_again_where_it_stands() -> None:
    state = take(started(), pages(range(1))).state
    state = take(state, listing(range(3), "2,2")).state
    again = take(state, failure()).state
    assert again.position == state.position
    assert again.status == "in_progress"
