"""When something happens by itself: the next walk by schedule, a retry, the end of waiting."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from producer.decide.dueness import due
from producer.policy import Policy
from schemas.commands import Command, RecordVerdict, StartWalk
from schemas.verdicts import Verdict
from schemas.walks import RequestedMode, Schedule, Status, WalkState

SENT_BY: Final = "timer"

RESTING: Final[frozenset[Status]] = frozenset(
    {"pending", "failed", "cancelled", "completed", "unverified", "held"}
)
"""The statuses in which a table waits for its next walk."""

_JITTER: Final = 0.1
_MOST_JITTER_WHEN_LATE: Final = 600.0
_LONGEST_UNSETTLED_WAIT: Final = 6 * 3600.0


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """A command to be given at a time, and `seconds` after it was set at the latest."""

    at: datetime
    seconds: float
    command: Command


def timers(state: WalkState, policy: Policy) -> Iterator[Timer]:
    """Yield what a state has happen by itself. Giving one twice is harmless: it names its time."""
    step = due(state)
    if state.retry_at is not None and step is not None:
        yield Timer(at=state.retry_at, seconds=state.retry_seconds, command=step)
    if state.next_walk_at is not None and state.status in RESTING:
        yield _next_walk(state, state.next_walk_at, policy)
    if state.verdict_due_at is not None and state.status == "verifying" and step is None:
        yield _end_of_waiting(state, state.verdict_due_at, policy)


def _next_walk(state: WalkState, at: datetime, policy: Policy) -> Timer:
    command = StartWalk(
        site=state.site,
        kind=state.kind,
        command_id=f"{SENT_BY}:{state.table.key}:walk:{state.walk + 1}:{at.isoformat()}",
        sent_by=SENT_BY,
        sent_at=at,
        mode=state.next_walk_mode or "auto",
        rows=policy.rows,
        due_at=at,
    )
    return Timer(at=at, seconds=_longest_wait(state, policy), command=command)


def _end_of_waiting(state: WalkState, at: datetime, policy: Policy) -> Timer:
    seconds = policy.patience
    command = RecordVerdict(
        site=state.site,
        kind=state.kind,
        command_id=f"{SENT_BY}:{state.table.key}:verdict:{state.walk}:{at.isoformat()}",
        sent_by=SENT_BY,
        sent_at=at,
        walk=state.walk,
        round=0,
        barrier=state.barrier,
        verdict=Verdict(
            outcome="unverifiable",
            as_of=state.listed_at,
            reason=f"no reconciler gave a verdict within {seconds:.0f} s",
        ),
        due_at=at,
    )
    return Timer(at=at, seconds=seconds, command=command)


def next_walk(state: WalkState, now: datetime, policy: Policy) -> dict[str, object]:
    """Return the fields `next_walk_at` and `next_walk_mode` of a table that rests from now on.

    Whichever mode's time comes first, reckoned from when the newest walk at least as strong began.
    A time that has passed already is made up for soon. The jitter spreads tables that would come
    at the same time; it is a hash of the table and the time, and so the same after any restart.
    """
    found = [
        (_spread(state, last + timedelta(seconds=every), every, now), mode)
        for mode, every, last in _rhythms(state, now, policy)
    ]
    at, mode = min(found, key=lambda one: one[0], default=(None, None))
    return {"next_walk_at": at, "next_walk_mode": mode}


def look_again(state: WalkState, now: datetime, seconds: float) -> dict[str, object]:
    """Return the fields of a table whose ids are listed again after `seconds`, come what may."""
    at = _spread(state, now + timedelta(seconds=seconds), seconds, now)
    return {"next_walk_at": at, "next_walk_mode": "verify"}


def unsettled_wait(state: WalkState, policy: Policy) -> float:
    """Return how long after an unjudged walk the next is begun: twice as long each time."""
    return min(policy.patience * 2.0 ** min(state.unsettled, 20), _LONGEST_UNSETTLED_WAIT)


def _rhythms(
    state: WalkState, now: datetime, policy: Policy
) -> Iterator[tuple[RequestedMode, float, datetime]]:
    """Yield each mode that is walked by schedule: how often, and from when that is reckoned."""
    schedule = state.schedule or policy.schedule
    begun = [state.added_at or now]
    rhythms: tuple[tuple[RequestedMode, float | None, datetime | None], ...] = (
        ("full", schedule.full_every, state.full_at),
        # Full where that is needed: a table whose first full walk was never verified.
        ("auto", schedule.incremental_every, state.incremental_at),
        ("verify", schedule.verify_every, state.verify_at),
    )
    for mode, every, newest in rhythms:
        begun += [newest] if newest is not None else []
        if every is not None:
            yield mode, every, max(begun)


def _spread(state: WalkState, at: datetime, every: float, now: datetime) -> datetime:
    most = _JITTER * every
    if at < now:
        at, most = now, min(most, _MOST_JITTER_WHEN_LATE)
    named = f"{state.table.key} {at.isoformat()}".encode()
    share = int.from_bytes(hashlib.sha256(named).digest()[:8]) / 2**64
    return at + timedelta(seconds=share * most)


def _longest_wait(state: WalkState, policy: Policy) -> float:
    """Return more seconds than any wait for the next walk has: a clock set back delays it no more.

    The rhythm of its mode, or the wait after a verdict that asked for another look.
    """
    schedule: Schedule = state.schedule or policy.schedule
    every = {
        "full": schedule.full_every,
        "auto": schedule.incremental_every,
        "verify": schedule.verify_every,
    }.get(state.next_walk_mode or "auto")
    again = max(policy.second_look_after, _LONGEST_UNSETTLED_WAIT)
    return (1 + _JITTER) * (again if every is None else every)
