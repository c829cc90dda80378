"""The steps of a walk: a response of pages, a slice of the listing, and the end."""

import struct
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from producer.decide.dueness import due
from producer.decide.outcome import NOTHING_TO_RETRY, Outcome, change
from producer.decide.starting import rest
from producer.policy import Policy
from producer.responses import ListingResponse, PagesResponse
from schemas.events import Event, SourceListed, StepWalked, VerdictGiven, WalkEnded
from schemas.records import WalkBarrier
from schemas.verdicts import Verdict
from schemas.walks import Position, WalkState

_SOUND_UNTIL_LARGER: Final = 10


def walk_pages(state: WalkState, response: PagesResponse, now: datetime) -> Outcome:
    """Publish one response of pages; after the last of them comes the listing."""
    pages = response.pages
    further = (
        Position(phase="listing")
        if response.next is None
        else Position(phase="pages", cursor=response.next, after=response.last_id)
    )
    stepped = _stepped(
        state,
        now,
        position=further,
        pages=state.pages + len(pages),
        rejected=state.rejected + len(response.rejected),
        held_rows=state.held_rows or bool(pages),
    )
    return Outcome(
        state=stepped,
        events=(_step_walked(state, response, now),),
        next_command=due(stepped),
        pages=pages,
        dead_letters=response.rejected,
    )


def _stepped(state: WalkState, now: datetime, **fields: object) -> WalkState:
    """Return the state after a sound response; after some of them more rows are asked for again."""
    size, sound = state.size, state.sound + 1
    if size < state.rows and sound >= _SOUND_UNTIL_LARGER:
        size, sound = min(2 * size, state.rows), 0
    return change(
        state,
        now,
        **NOTHING_TO_RETRY,
        error=None,
        steps=state.steps + 1,
        size=size,
        sound=sound,
        **fields,
    )


def _position(state: WalkState) -> Position:
    if state.position is None:  # only a state with a due step comes here
        raise ValueError(f"{state.table.key} has no step under way")
    return state.position


def _step_walked(state: WalkState, response: PagesResponse, now: datetime) -> StepWalked:
    pages = response.pages
    return StepWalked(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        step=state.steps,
        position=_position(state),
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


def list_ids(state: WalkState, response: ListingResponse, now: datetime, policy: Policy) -> Outcome:
    """Publish one slice of the listing; the last of them ends the walk.

    A slice that begins at the beginning although others came before begins the listing anew.
    """
    first = response.after is None
    listed = SourceListed(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        step=state.steps,
        after=response.after,
        ids=response.ids,
        listed_by=response.listed_by,
        last=response.last,
        requested_at=response.requested_at,
    )
    further = Position(
        phase="listing",
        cursor=response.next,
        after=response.ids[-1] if response.ids else response.after,
        listed_by=response.listed_by,
    )
    stepped = _stepped(
        state,
        now,
        position=further,
        listed=(0 if first else state.listed) + len(response.ids),
        listed_at=response.requested_at if first else state.listed_at,
        held_rows=state.held_rows or bool(response.ids),
    )
    if not response.last:
        return Outcome(state=stepped, events=(listed,), next_command=due(stepped))
    return _end(stepped, listed, now, policy)


def _end(state: WalkState, listed: SourceListed, now: datetime, policy: Policy) -> Outcome:
    """Close the walk with its barrier; it waits for its verdict, or ends at once without one."""
    judged = policy.verdict_timeout > 0
    ended = replace(
        state,
        status="verifying" if judged else "unverified",
        position=None,
        barrier=state.barrier + 1,
        full_ended=state.walk if state.mode == "full" else state.full_ended,
        verdict_due_at=policy.verdict_by(now) if judged else None,
        verdict=None if judged else "unverified",
        ended_at=None if judged else now,
    )
    barrier = WalkBarrier(
        site=state.site, kind=state.kind, number=ended.barrier, walk=state.walk, at=now
    )
    events: tuple[Event, ...] = (listed, _walk_ended(ended, now))
    if judged:
        return Outcome(state=ended, events=events, barrier=barrier)
    events = (*events, _unverified(ended, now))
    return rest(Outcome(state=ended, events=events, barrier=barrier), now, policy)


def _walk_ended(state: WalkState, now: datetime) -> WalkEnded:
    return WalkEnded(
        site=state.site,
        kind=state.kind,
        walk=state.walk,
        mode=state.mode,
        steps=state.steps,
        barrier=state.barrier,
        pages=state.pages,
        rejected=state.rejected,
        listed=state.listed,
        listed_at=state.listed_at or now,
        at=now,
    )


def _unverified(state: WalkState, now: datetime) -> VerdictGiven:
    verdict = Verdict(
        outcome="unverified", as_of=state.listed_at, reason="no reconciler judges walks"
    )
    return VerdictGiven(site=state.site, kind=state.kind, walk=state.walk, verdict=verdict, at=now)
