"""What an operator may do to a walk: pause, resume, cancel and retry it."""

from datetime import datetime
from typing import Final, NamedTuple

from msgspec.structs import replace

from producer.decide.dueness import due
from producer.decide.outcome import (
    NOTHING_TO_RETRY,
    Outcome,
    accept,
    done,
    preceded,
    refused,
    stale,
)
from producer.decide.repairing import dropped
from producer.decide.starting import begin, stronger
from producer.decide.timing import next_walk
from producer.policy import Policy
from schemas.commands import CancelWalk, PauseWalk, ResumeWalk, RetryWalk
from schemas.walks import FollowUp, Status, WalkState

Control = PauseWalk | ResumeWalk | CancelWalk | RetryWalk


class _Rule(NamedTuple):
    """When a control takes hold: never on a walk that `already` is as it would be."""

    from_statuses: frozenset[Status]
    otherwise: str
    already: Status | None = None


_PAUSE: Final = _Rule(
    frozenset({"in_progress"}), "only a walk in progress can be paused", already="paused"
)
_RESUME: Final = _Rule(
    frozenset({"paused"}), "only a paused walk can be resumed", already="in_progress"
)
_CANCEL: Final = _Rule(
    frozenset({"in_progress", "paused", "failed", "verifying", "held"}),
    "there is nothing to cancel",
    already="cancelled",
)
_RETRY: Final = _Rule(frozenset({"in_progress", "failed"}), "only a failed walk can be tried again")

_GOES_ON: Final = {**NOTHING_TO_RETRY, "error": None, "ended_at": None, "next_walk_at": None,
                   "next_walk_mode": None}  # fmt: skip


def _not_now(state: WalkState, command: Control, rule: _Rule, now: datetime) -> Outcome | None:
    """Return the answer to a control that changes nothing; None where it takes hold."""
    if state.walk != command.walk:
        reason = f"meant for walk {command.walk}, but walk {state.walk} is the newest"
        return stale(state, command, reason, now)
    if state.status == rule.already:
        return done(accept(state, command, now), command, f"already {state.status}", now)
    if state.status not in rule.from_statuses:
        reason = f"walk {state.walk} is {state.status}: {rule.otherwise}"
        return refused(state, command, reason, now)
    return None


def pause(state: WalkState, command: PauseWalk, now: datetime) -> Outcome:
    """Stop before the next step, and keep it."""
    if (outcome := _not_now(state, command, _PAUSE, now)) is not None:
        return outcome
    paused = accept(state, command, now, status="paused", retry_at=None, retry_seconds=0.0)
    return done(paused, command, "paused", now)


def resume(state: WalkState, command: ResumeWalk, now: datetime) -> Outcome:
    """Go on at the step that is due."""
    if (outcome := _not_now(state, command, _RESUME, now)) is not None:
        return outcome
    return _go_on(accept(state, command, now, status="in_progress", **_GOES_ON), command, now)


def cancel(state: WalkState, command: CancelWalk, now: datetime, policy: Policy) -> Outcome:
    """End a walk for good, and drop what waits for it; its schedule goes on."""
    if (outcome := _not_now(state, command, _CANCEL, now)) is not None:
        return outcome
    cancelled = accept(
        state,
        command,
        now,
        **NOTHING_TO_RETRY,
        status="cancelled",
        position=None,
        repairs=(),
        follow_up=None,
        verdict_due_at=None,
        ended_at=now,
    )
    cancelled = replace(cancelled, **next_walk(cancelled, now, policy))
    return preceded(done(cancelled, command, "cancelled", now), *dropped(state, now))


def retry(state: WalkState, command: RetryWalk, now: datetime, policy: Policy) -> Outcome:
    """Try again, from exactly where a walk failed; what waits to be tried again does not wait.

    A walk that failed by its verdict has nothing left to try: its ids are listed anew.
    """
    if state.retry_at is not None and state.walk == command.walk:
        return _go_on(accept(state, command, now, **NOTHING_TO_RETRY, error=None), command, now)
    if (outcome := _not_now(state, command, _RETRY, now)) is not None:
        return outcome
    if state.status == "in_progress":
        return _go_on(accept(state, command, now, **_GOES_ON), command, now)
    if state.position is not None:
        return _go_on(accept(state, command, now, status="in_progress", **_GOES_ON), command, now)
    if state.repairs:
        waiting = {"status": "verifying", "verdict_due_at": policy.verdict_by(now)}
        return _go_on(accept(state, command, now, **_GOES_ON, **waiting), command, now)
    wanted = stronger(state.follow_up, FollowUp(mode="verify", rows=state.rows))
    begun = begin(accept(state, command, now), wanted, now, policy)
    answer = done(begun.state, command, f"walk {begun.state.walk} looks at it again", now)
    return preceded(begun, *answer.events)


def _go_on(state: WalkState, command: Control, now: datetime) -> Outcome:
    return replace(done(state, command, "goes on", now), next_command=due(state))
