"""How a walk begins: at a request, by schedule, or as the follow-up of the walk before."""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from producer.decide.dueness import due
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
from producer.decide.timing import RESTING, next_walk
from producer.policy import Policy
from schemas.commands import StartWalk
from schemas.events import WalkStarted
from schemas.walks import FollowUp, Mode, Position, RequestedMode, WalkState, Window

_STRENGTH: Final[dict[RequestedMode, int]] = {"verify": 0, "incremental": 1, "auto": 2, "full": 3}
_MOST_ROWS: Final = 1000


def start_walk(state: WalkState, command: StartWalk, now: datetime, policy: Policy) -> Outcome:
    """Begin a walk, or have it follow the one under way."""
    if not 1 <= command.rows <= _MOST_ROWS:
        reason = f"{command.rows} rows in one response: the source allows 1 to {_MOST_ROWS}"
        return refused(state, command, reason, now)
    if command.after_walk is not None and command.after_walk != state.walk:
        reason = f"meant after walk {command.after_walk}, but walk {state.walk} is the newest"
        return stale(state, command, reason, now)
    resting = state.status in RESTING
    if command.due_at is not None and (not resting or command.due_at != state.next_walk_at):
        return stale(state, command, "its time has passed, or was set anew", now)
    wanted = stronger(state.follow_up, FollowUp(mode=command.mode, rows=command.rows))
    if not resting:
        waiting = accept(state, command, now, follow_up=wanted)
        return done(waiting, command, f"waits as the follow-up of walk {state.walk}", now)
    begun = begin(accept(state, command, now), wanted, now, policy)
    answer = done(begun.state, command, f"walk {begun.state.walk} started", now)
    return preceded(begun, *answer.events)


def stronger(waiting: FollowUp | None, wanted: FollowUp) -> FollowUp:
    """Return the one of two walks that does more; the newer where they do the same."""
    if waiting is None or _STRENGTH[wanted.mode] >= _STRENGTH[waiting.mode]:
        return wanted
    return waiting


def begin(state: WalkState, wanted: FollowUp, now: datetime, policy: Policy) -> Outcome:
    """Begin the table's next walk, with all its figures at zero."""
    mode = _mode(state, wanted.mode)
    begun = change(
        state,
        now,
        **NOTHING_TO_RETRY,
        status="in_progress",
        walk=state.walk + 1,
        mode=mode,
        window=_window(now, policy.window_days) if mode == "incremental" else None,
        rows=wanted.rows,
        size=wanted.rows,
        sound=0,
        steps=0,
        position=Position(phase="listing" if mode == "verify" else "pages"),
        repairs=(),
        pages=0,
        rejected=0,
        listed=0,
        retries=0,
        expected=None,
        stored=None,
        listed_at=None,
        verdict_due_at=None,
        verdict=None,
        follow_up=None,
        next_walk_at=None,
        next_walk_mode=None,
        error=None,
        last_error=None,
        started_at=now,
        ended_at=None,
        **{f"{mode}_at": now},
    )
    event = WalkStarted(
        site=state.site,
        kind=state.kind,
        walk=begun.walk,
        mode=mode,
        rows=begun.rows,
        window=begun.window,
        at=now,
    )
    return Outcome(state=begun, events=(*dropped(state, now), event), next_command=due(begun))


def _mode(state: WalkState, wanted: RequestedMode) -> Mode:
    """Return the mode in which a table is walked: in full until one full walk was verified."""
    if wanted != "auto":
        return wanted
    return "incremental" if state.full_verified and not state.full_forced else "full"


def _window(now: datetime, days: int) -> Window:
    reach = timedelta(days=days)
    return (now - reach).date().isoformat(), (now + reach).date().isoformat()


def rest(ended: Outcome, now: datetime, policy: Policy) -> Outcome:
    """Let a walk's end be followed by the walk that waits for it, or by one at its scheduled time.

    `ended` is the outcome that ended the walk: its state is at rest.
    """
    state = ended.state
    if state.follow_up is None:
        return replace(ended, state=replace(state, **next_walk(state, now, policy)))
    following = begin(state, state.follow_up, now, policy)
    return replace(
        ended,
        state=following.state,
        ended=state,
        events=ended.events + following.events,
        next_command=following.next_command,
    )
