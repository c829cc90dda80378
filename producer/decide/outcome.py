"""All that one command brings about, and the changes of a state that every decision is made of."""

from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from schemas.commands import PrunePages, RefetchPages, Request, TakeStep
from schemas.events import CommandAnswered, Event
from schemas.records import DeadLetter, Municipality, Page, SiteRemoved, WalkBarrier
from schemas.walks import WalkState

FetchedCommand = TakeStep | RefetchPages | PrunePages
"""The commands for which the source is asked."""

Answer = Literal["done", "refused", "stale"]

_MOST_REASON: Final = 1000
_MOST_REMEMBERED: Final = 16

NOTHING_TO_RETRY: Final = {"retry_at": None, "retry_seconds": 0.0, "attempt": 0, "refusals": 0}
"""The fields of a state in which nothing has failed."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All that one command brings about, to be committed in one transaction with its offset.

    `ended` is the state of a walk that ended where `state` is already that of its follow-up.
    `next_command` is given next. `tombstones` are the ids whose pages are deleted.
    """

    state: WalkState
    ended: WalkState | None = None
    events: tuple[Event, ...] = ()
    next_command: FetchedCommand | None = None
    pages: tuple[Page, ...] = ()
    tombstones: tuple[str, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    barrier: WalkBarrier | None = None
    site_removed: SiteRemoved | None = None
    municipality: Municipality | None = None


def change(state: WalkState, now: datetime, **fields: object) -> WalkState:
    """Return the next revision of a state."""
    return replace(state, revision=state.revision + 1, updated_at=now, **fields)


def accept(state: WalkState, command: Request, now: datetime, **fields: object) -> WalkState:
    """Return the state in which a request was done, and is remembered: a double will be stale."""
    recent = (*state.recent, command.command_id)[-_MOST_REMEMBERED:]
    return change(state, now, recent=recent, **fields)


def answered(
    state: WalkState, command: Request, answer: Answer, reason: str, now: datetime
) -> CommandAnswered:
    """Return the ledger's word on a request."""
    return CommandAnswered(
        site=state.site,
        kind=state.kind,
        command_id=command.command_id,
        command=type(command).__name__,
        sent_by=command.sent_by,
        answer=answer,
        reason=reason[:_MOST_REASON],
        walk=state.walk,
        at=now,
    )


def done(state: WalkState, command: Request, reason: str, now: datetime) -> Outcome:
    """Return the outcome of a request that made `state`."""
    return Outcome(state=state, events=(answered(state, command, "done", reason, now),))


def refused(state: WalkState, command: Request, reason: str, now: datetime) -> Outcome:
    """Return the outcome of a request that a rule forbids: nothing changes."""
    return Outcome(state=state, events=(answered(state, command, "refused", reason, now),))


def stale(state: WalkState, command: Request, reason: str, now: datetime) -> Outcome:
    """Return the outcome of a request that time has passed: nothing changes."""
    return Outcome(state=state, events=(answered(state, command, "stale", reason, now),))


def preceded(outcome: Outcome, *events: Event) -> Outcome:
    """Return an outcome with events that come before its own."""
    return replace(outcome, events=events + outcome.events)
