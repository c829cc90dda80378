"""What a walk does next: pure, without clock or network. The guard is `command == due(state)`."""

import struct
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from producer.responses import Failure, Fetched, ListingResponse, PagesResponse
from schemas.commands import AddSite, Command, Request, StartWalk, TakeStep
from schemas.events import (
    CommandAnswered,
    Event,
    SourceListed,
    StepWalked,
    VerdictGiven,
    WalkEnded,
    WalkFailed,
    WalkStarted,
)
from schemas.records import DeadLetter, Municipality, Page, WalkBarrier
from schemas.verdicts import Verdict
from schemas.walks import FollowUp, Mode, Position, WalkState

_STRENGTH: Final[dict[Mode, int]] = {"verify": 0, "incremental": 1, "full": 2}
_MOST_REASON: Final = 1000
_MOST_ROWS: Final = 1000


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All that one command brings about, to be committed in one transaction with its offset.

    `ended` is the state of a walk that ended where `state` is already that of its follow-up.
    """

    state: WalkState
    ended: WalkState | None = None
    events: tuple[Event, ...] = ()
    next_step: TakeStep | None = None
    pages: tuple[Page, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    barrier: WalkBarrier | None = None
    municipality: Municipality | None = None


def due(state: WalkState) -> TakeStep | None:
    """Return the one step that this state waits for; any other is stale."""
    if state.status != "in_progress" or state.position is None:
        return None
    return TakeStep(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        step=state.steps,
        attempt=state.attempt,
        position=state.position,
        rows=state.rows,
    )


def decide(state: WalkState, command: Command, fetched: Fetched | None, now: datetime) -> Outcome:
    """Return what `command` makes of `state`.

    `fetched` is what the source answered; only a step that is due is ever fetched. A step that is
    not due changes nothing: it is a double, or comes from a walk that has gone on. A Failure with a
    request means that Kafka does not take what would follow from it.
    """
    match command:
        case TakeStep() if fetched is not None and command == due(state):
            return _take(state, fetched, now)
        case Request() if isinstance(fetched, Failure):
            return _answer(state, command, "refused", fetched.error, now)
        case AddSite():
            return _add_site(state, command, now)
        case StartWalk():
            return _start_walk(state, command, now)
        case Request():
            reason = f"this version of pagestream does not know how to do {type(command).__name__}"
            return _answer(state, command, "refused", reason, now)
    return Outcome(state=state)


def _change(state: WalkState, now: datetime, **fields: object) -> WalkState:
    return replace(state, revision=state.revision + 1, updated_at=now, **fields)


def _answer(
    state: WalkState,
    command: Request,
    answer: Literal["done", "refused", "stale"],
    reason: str,
    now: datetime,
) -> Outcome:
    answered = CommandAnswered(
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
    return Outcome(state=state, events=(answered,))


def _add_site(state: WalkState, command: AddSite, now: datetime) -> Outcome:
    if command.municipality.site != command.site:
        reason = f"the record is of site {command.municipality.site!r}"
        return _answer(state, command, "refused", reason, now)
    known = state.revision > 0
    added = state if known else _change(state, now)
    outcome = _answer(added, command, "done", "site updated" if known else "site added", now)
    return replace(outcome, municipality=command.municipality)


def _start_walk(state: WalkState, command: StartWalk, now: datetime) -> Outcome:
    if state.revision == 0:
        reason = f"site {state.site} is not known: add it first"
        return _answer(state, command, "refused", reason, now)
    if command.mode not in ("auto", "full"):
        reason = f"this version of pagestream does not know how to walk in mode {command.mode}"
        return _answer(state, command, "refused", reason, now)
    if not 1 <= command.rows <= _MOST_ROWS:
        reason = f"{command.rows} rows in one response: the source allows 1 to {_MOST_ROWS}"
        return _answer(state, command, "refused", reason, now)
    if command.after_walk is not None and command.after_walk != state.walk:
        reason = f"meant after walk {command.after_walk}, but walk {state.walk} is the newest"
        return _answer(state, command, "stale", reason, now)
    wanted = FollowUp(mode="full", rows=command.rows)
    if state.status in ("in_progress", "verifying", "paused"):
        waiting = _change(state, now, follow_up=_stronger(state.follow_up, wanted))
        reason = f"waits as the follow-up of walk {state.walk}"
        return _answer(waiting, command, "done", reason, now)
    started = _start(state, _stronger(state.follow_up, wanted), now)
    answered = _answer(started.state, command, "done", f"walk {started.state.walk} started", now)
    return replace(started, events=answered.events + started.events)


def _stronger(waiting: FollowUp | None, wanted: FollowUp) -> FollowUp:
    if waiting is None or _STRENGTH[wanted.mode] >= _STRENGTH[waiting.mode]:
        return wanted
    return waiting


def _start(state: WalkState, wanted: FollowUp, now: datetime) -> Outcome:
    """Begin the table's next walk, with all its figures at zero."""
    started = _change(
        state,
        now,
        status="in_progress",
        walk=state.walk + 1,
        mode=wanted.mode,
        rows=wanted.rows,
        steps=0,
        attempt=0,
        position=Position(phase="pages"),
        pages=0,
        rejected=0,
        listed=0,
        follow_up=None,
        error=None,
        started_at=now,
        listed_at=None,
        ended_at=None,
    )
    event = WalkStarted(
        site=state.site,
        kind=state.kind,
        walk=started.walk,
        mode=started.mode,
        rows=started.rows,
        at=now,
    )
    return Outcome(state=started, events=(event,), next_step=due(started))


def _take(state: WalkState, fetched: Fetched, now: datetime) -> Outcome:
    match fetched:
        case Failure():
            return _fail(state, fetched, now)
        case PagesResponse():
            return _walk_pages(state, fetched, now)
        case ListingResponse():
            return _list_ids(state, fetched, now)


def _position(state: WalkState) -> Position:
    if state.position is None:  # only a state with a due step comes here
        raise ValueError(f"{state.table.key} has no step under way")
    return state.position


def _fail(state: WalkState, failure: Failure, now: datetime) -> Outcome:
    failed = _change(state, now, status="failed", error=failure.error, ended_at=now)
    event = WalkFailed(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        step=state.steps,
        attempt=state.attempt,
        position=_position(state),
        reason=failure.reason,
        error=failure.error,
        received=failure.received,
        at=now,
    )
    return Outcome(state=failed, events=(event,))


def _walk_pages(state: WalkState, response: PagesResponse, now: datetime) -> Outcome:
    pages, position = response.pages, _position(state)
    walked = StepWalked(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        step=state.steps,
        position=position,
        next=response.next,
        ids=tuple([page.id for page in pages]),
        hashes=struct.pack(f">{len(pages)}q", *[page.row_hash for page in pages]),
        count=len(pages),
        hash_sum=sum([page.row_hash for page in pages]),
        rejected=len(response.rejected),
        sanitised=tuple([page.id for page in pages if page.sanitised]),
        seconds=response.seconds,
        at=now,
    )
    further = (
        Position(phase="listing")
        if response.next is None
        else Position(phase="pages", cursor=response.next, after=response.last_id)
    )
    stepped = _change(
        state,
        now,
        steps=state.steps + 1,
        attempt=0,
        position=further,
        pages=state.pages + len(pages),
        rejected=state.rejected + len(response.rejected),
    )
    return Outcome(
        state=stepped,
        events=(walked,),
        next_step=due(stepped),
        pages=pages,
        dead_letters=response.rejected,
    )


def _list_ids(state: WalkState, response: ListingResponse, now: datetime) -> Outcome:
    position = _position(state)
    listed = SourceListed(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        step=state.steps,
        after=position.after,
        ids=response.ids,
        listed_by="paging",
        last=response.next is None,
        requested_at=response.requested_at,
    )
    further = Position(
        phase="listing",
        cursor=response.next,
        after=response.ids[-1] if response.ids else position.after,
    )
    stepped = _change(
        state,
        now,
        steps=state.steps + 1,
        attempt=0,
        position=further,
        listed=state.listed + len(response.ids),
        listed_at=state.listed_at or response.requested_at,
    )
    if response.next is not None:
        return Outcome(state=stepped, events=(listed,), next_step=due(stepped))
    ended = _end(stepped, now)
    return replace(ended, events=(listed, *ended.events))


def _end(state: WalkState, now: datetime) -> Outcome:
    """Close the walk with its barrier; nobody judges it yet, so it ends at once as unverified."""
    ended = replace(
        state, status="unverified", position=None, barrier=state.barrier + 1, ended_at=now
    )
    barrier = WalkBarrier(
        site=state.site, kind=state.kind, number=ended.barrier, walk=state.walk, at=now
    )
    walk_ended = WalkEnded(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        mode=state.mode,
        steps=state.steps,
        barrier=ended.barrier,
        pages=state.pages,
        rejected=state.rejected,
        listed=state.listed,
        listed_at=state.listed_at or now,
        at=now,
    )
    unverified = VerdictGiven(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        verdict=Verdict(
            outcome="unverified", as_of=state.listed_at, reason="no reconciler judges walks yet"
        ),
        at=now,
    )
    events: tuple[Event, ...] = (walk_ended, unverified)
    if state.follow_up is None:
        return Outcome(state=ended, events=events, barrier=barrier)
    following = _start(ended, state.follow_up, now)
    return replace(following, ended=ended, events=events + following.events, barrier=barrier)
