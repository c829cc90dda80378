"""What a verdict makes of a walk, and what the reconciler and a person say meanwhile."""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from producer.decide.outcome import (
    NOTHING_TO_RETRY,
    Outcome,
    accept,
    change,
    done,
    preceded,
    refused,
    stale,
)
from producer.decide.repairing import dropped
from producer.decide.starting import rest, stronger
from producer.decide.timing import look_again, next_walk, unsettled_wait
from producer.policy import Policy
from schemas.commands import ApproveVerdict, RecordVerdict, RejectVerdict, StillWaiting
from schemas.events import VerdictGiven
from schemas.verdicts import Outcome as Found
from schemas.walks import FollowUp, Status, WalkState

_STATUS: Final[dict[Found, Status]] = {
    "balanced": "completed",
    "repaired": "completed",
    "incomplete": "completed",
    "second_look": "held",
    "shrunk": "held",
    "torn": "failed",
    "unverifiable": "failed",
    "unverified": "unverified",
}
"""What a walk becomes by each verdict that it can be given; `absent` is the walker's own."""


def record_verdict(
    state: WalkState, command: RecordVerdict, now: datetime, policy: Policy
) -> Outcome:
    """End a walk with its verdict; what waits for it begins, or its next look is planned."""
    if (reason := _too_late(state, command)) is not None:
        return stale(state, command, reason, now)
    verdict = command.verdict
    status = _STATUS.get(verdict.outcome)
    if status is None:
        return refused(state, command, f"nobody but the walker finds {verdict.outcome}", now)
    # A copy of the repair that is due may still be in the log, and must not be made after all.
    answered = (*state.recent, *[waiting.command_id for waiting in state.repairs[:1]])
    ended = accept(
        replace(state, recent=answered),
        command,
        now,
        **NOTHING_TO_RETRY,
        status=status,
        repairs=(),
        verdict_due_at=None,
        expected=verdict.expected,
        stored=verdict.stored,
        verdict=verdict.outcome,
        unsettled=state.unsettled + 1 if verdict.outcome == "unverifiable" else 0,
        ended_at=now,
        **_judged(state, command),
    )
    event = VerdictGiven(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        round=command.round,
        verdict=verdict,
        at=now,
    )
    outcome = done(ended, command, f"walk {state.walk} is {verdict.outcome}", now)
    outcome = replace(outcome, events=(*outcome.events, event))
    return preceded(_go_on(state, outcome, now, policy), *dropped(state, now))


def _too_late(state: WalkState, command: RecordVerdict) -> str | None:
    if (state.status, state.walk, state.barrier) != ("verifying", command.walk, command.barrier):
        return (
            f"given to walk {command.walk} at barrier {command.barrier}, but walk {state.walk} "
            f"is {state.status} at barrier {state.barrier}"
        )
    if command.due_at is not None and command.due_at != state.verdict_due_at:
        return "somebody still works on its verdict"
    return None


def _judged(state: WalkState, command: RecordVerdict) -> dict[str, object]:
    """Return the fields that say whether the table is now verified, and since when."""
    verdict = command.verdict
    if _STATUS[verdict.outcome] != "completed":
        return {"error": verdict.reason, "last_error": verdict.reason or state.last_error}
    # The full walk that this settles: itself, or the one whose own verdict never came.
    settled = {"full": state.walk, "verify": state.full_ended}.get(state.mode)
    fields: dict[str, object] = {"verified_at": verdict.as_of or state.listed_at, "error": None}
    if settled is not None:
        forced = state.full_forced_after
        satisfied = forced is None or settled > forced
        fields |= {"full_verified": True, "full_forced_after": None if satisfied else forced}
    return fields


def _go_on(before: WalkState, outcome: Outcome, now: datetime, policy: Policy) -> Outcome:
    """Begin what waits for the walk; a verdict that settles nothing has the ids listed again."""
    state = outcome.state
    if state.verdict == "unverifiable" and before.unsettled == 0:
        looking = FollowUp(mode="verify", rows=state.rows)
        wanted = looking if state.follow_up is None else stronger(state.follow_up, looking)
        return rest(replace(outcome, state=replace(state, follow_up=wanted)), now, policy)
    if state.follow_up is not None:
        return rest(outcome, now, policy)
    if state.verdict == "unverifiable":
        fields = look_again(state, now, unsettled_wait(state, policy))
    elif state.status == "held":
        fields = look_again(state, now, policy.second_look_after)
    else:
        fields = next_walk(state, now, policy)
    return replace(outcome, state=replace(state, **fields))


def still_waiting(
    state: WalkState, command: StillWaiting, now: datetime, policy: Policy
) -> Outcome:
    """Wait longer for a verdict that somebody works on."""
    if state.status != "verifying" or state.walk != command.walk:
        return Outcome(state=state)
    return Outcome(state=change(state, now, verdict_due_at=policy.verdict_by(now)))


def approve(state: WalkState, command: ApproveVerdict, now: datetime, policy: Policy) -> Outcome:
    """Have a held walk judged again, with its ghosts released by a person."""
    if (reason := _not_held(state, command.walk)) is not None:
        return stale(state, command, reason, now)
    approved = accept(
        state,
        command,
        now,
        status="verifying",
        verdict_due_at=policy.verdict_by(now),
        next_walk_at=None,
        next_walk_mode=None,
        error=None,
        ended_at=None,
    )
    return done(approved, command, f"the ghosts of walk {state.walk} may go", now)


def reject(state: WalkState, command: RejectVerdict, now: datetime, policy: Policy) -> Outcome:
    """Keep the rows of a held walk; the next look comes by schedule."""
    if (reason := _not_held(state, command.walk)) is not None:
        return stale(state, command, reason, now)
    kept = accept(state, command, now, **next_walk(state, now, policy))
    return done(kept, command, f"the rows of walk {state.walk} stay", now)


def _not_held(state: WalkState, walk: int) -> str | None:
    if (state.status, state.walk) == ("held", walk):
        return None
    return f"walk {walk} is not held: walk {state.walk} is {state.status}"
