"""What a failure of the source makes of a walk: ask for less, wait and try again, or fail."""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from producer.decide.dueness import due
from producer.decide.outcome import NOTHING_TO_RETRY, Outcome, change
from producer.decide.repairing import give_up
from producer.decide.starting import rest
from producer.decide.timing import next_walk
from producer.policy import Policy
from producer.responses import Failure
from schemas.events import VerdictGiven, WalkFailed
from schemas.verdicts import Verdict
from schemas.walks import WalkState

_FOR_GOOD: Final = frozenset({"refused", "no_such_site", "unpublishable", "kills_worker"})
"""Reasons that no further try would change."""

_FEWEST_ROWS: Final = {"interrupted": 50, "too_large": 1}
"""Reasons for asking for fewer rows at once, down to so many."""

_REFUSED_SECONDS: Final = 61.0
_REFUSED_AGAIN_SECONDS: Final = 900.0
_REFUSALS_IN_A_ROW: Final = 3


def fail(state: WalkState, failure: Failure, now: datetime, policy: Policy) -> Outcome:
    """Return what becomes of the step, or the repair, that is due and has failed."""
    if failure.reason == "rate_limited":
        return Outcome(state=_refused(state, failure, now))
    if _is_absent(state, failure):
        return _absent(state, failure, now, policy)
    if state.position is not None and state.size > _FEWEST_ROWS.get(failure.reason, state.size):
        return _ask_for_less(state, failure, now)
    if failure.reason not in _FOR_GOOD and state.attempt < len(policy.retry_waits):
        return Outcome(state=_try_again(state, failure, policy.retry_waits[state.attempt], now))
    if state.position is None and state.status != "verifying":
        return give_up(state, failure, now)
    return _failed(state, failure, now, policy)


def _waiting(state: WalkState, failure: Failure, seconds: float, now: datetime) -> WalkState:
    return change(
        state,
        now,
        retry_at=now + timedelta(seconds=seconds),
        retry_seconds=seconds,
        error=failure.error,
        last_error=failure.error,
    )


def _refused(state: WalkState, failure: Failure, now: datetime) -> WalkState:
    """Wait until the source answers us again: being told to wait is no try.

    A table that is refused again and again waits long, whatever it is told: each refusal holds up
    every other site.
    """
    refusals = state.refusals + 1
    seconds = _REFUSED_SECONDS if failure.retry_after is None else failure.retry_after
    if refusals >= _REFUSALS_IN_A_ROW:
        seconds = max(seconds, _REFUSED_AGAIN_SECONDS)
    return replace(_waiting(state, failure, seconds, now), refusals=refusals)


def _try_again(state: WalkState, failure: Failure, seconds: float, now: datetime) -> WalkState:
    waiting = _waiting(state, failure, seconds, now)
    return replace(waiting, attempt=state.attempt + 1, retries=state.retries + 1, refusals=0)


def _ask_for_less(state: WalkState, failure: Failure, now: datetime) -> Outcome:
    smaller = change(
        state,
        now,
        retry_at=None,
        retry_seconds=0.0,
        size=max(state.size // 2, _FEWEST_ROWS[failure.reason]),
        sound=0,
        retries=state.retries + 1,
        last_error=failure.error,
    )
    return Outcome(state=smaller, next_command=due(smaller))


def _is_absent(state: WalkState, failure: Failure) -> bool:
    """Tell whether the site never had this table; one that we hold rows of must be there."""
    first = state.position is not None and state.steps == 0
    return failure.reason == "not_found" and first and not state.held_rows


def _absent(state: WalkState, failure: Failure, now: datetime, policy: Policy) -> Outcome:
    absent = change(
        state,
        now,
        **NOTHING_TO_RETRY,
        status="completed",
        position=None,
        verdict="absent",
        error=None,
        ended_at=now,
    )
    event = VerdictGiven(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        verdict=Verdict(outcome="absent", as_of=now, reason=failure.error),
        at=now,
    )
    return rest(Outcome(state=absent, events=(event,)), now, policy)


def _failed(state: WalkState, failure: Failure, now: datetime, policy: Policy) -> Outcome:
    """Fail the walk and keep what is due: a retry goes on from exactly there."""
    failed = change(
        state,
        now,
        status="failed",
        retry_at=None,
        retry_seconds=0.0,
        verdict_due_at=None,
        error=failure.error,
        last_error=failure.error,
        ended_at=now,
    )
    failed = replace(failed, **next_walk(failed, now, policy))
    event = WalkFailed(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        step=state.steps,
        attempt=state.attempt,
        position=state.position,
        command_id=state.repairs[0].command_id if state.position is None else None,
        reason=failure.reason,
        error=failure.error,
        received=failure.received,
        at=now,
    )
    return Outcome(state=failed, events=(event,))
