"""Starting walks and following them until everything they fetched is stored."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from pagestream.progress import Outlook, RateMeter, outlook, work_done
from pagestream.requests import new_id, sender
from pagestream.walks import OVER, UNFINISHED, StateFollower
from schemas.commands import StartWalk
from schemas.tables import Table
from schemas.walks import WalkState

_STORED_EVERY_SECONDS: Final = 0.5


class Stored(msgspec.Struct, frozen=True):
    """What became of one walk's records of pages in the database, each counted once.

    `barrier` is the number of the table's newest barrier that the sink has passed: everything
    before it is stored.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    dead_lettered: int = 0
    barrier: int = 0

    @property
    def pages(self) -> int:
        """How many of the walk's pages are in the database."""
        return self.created + self.updated + self.unchanged

    @property
    def applied(self) -> int:
        """How many of the walk's records the sink has dealt with."""
        return self.pages + self.deleted + self.dead_lettered


class Figures(Protocol):
    """Something that knows what is stored."""

    def read(self, walks: Sequence[tuple[Table, int]]) -> Mapping[Table, Stored] | None:
        """Return the figures of these walks, None when they cannot be had now."""


def start_walks(
    tables: Sequence[Table], states: Mapping[Table, WalkState], rows: int
) -> list[StartWalk]:
    """Return the request for one walk of each table, after the newest that is known of it."""
    return [
        StartWalk(
            site=table.site,
            kind=table.kind,
            command_id=new_id(),
            sent_by=sender(),
            sent_at=datetime.now(UTC),
            rows=rows,
            after_walk=states[table].walk,
        )
        for table in tables
    ]


class FollowedWalk:
    """One walk that somebody waits for: its state, what is stored of it, and how fast it goes.

    `before` is the state in which its table was when the walk was asked for, `waits` whether the
    walker answered that this walk begins when the one before has ended.
    """

    def __init__(self, before: WalkState, *, waits: bool = False) -> None:
        self.table: Final = before.table
        self.number: Final = before.walk + 1
        self.state: WalkState | None = None
        self.stored: Stored | None = None
        self.changes = 0
        """How many changes of its table's state were seen: while it grows, a walker is at work."""
        self.fetching = RateMeter()
        self._working = RateMeter()
        self._counted_before = before.pages + before.rejected if before.status in OVER else None
        self._waits = waits
        self._before = before
        self._last_barrier: int | None = None

    @property
    def held_up_by(self) -> WalkState | None:
        """The walk before, where it stands still without its end: this one then never begins."""
        waits = self._waits and self.state is None
        return self._before if waits and self._before.status in UNFINISHED else None

    @property
    def over(self) -> bool:
        """Whether it takes no further step by itself."""
        return self._last_barrier is not None or self.held_up_by is not None

    @property
    def failed(self) -> bool:
        """Whether it is over without having come to its end."""
        if self.state is None:
            return self.held_up_by is not None
        return self.state.status in UNFINISHED

    @property
    def everything_stored(self) -> bool:
        """Whether the sink has dealt with all that it published; only said when it is over."""
        if self.held_up_by is not None:
            return True
        if self._last_barrier is None or self.state is None or self.stored is None:
            return False
        if self.failed:
            return self.stored.applied >= self.state.pages
        return self.stored.barrier >= self._last_barrier

    def outlook(self) -> Outlook:
        """Return how far it is."""
        if self.state is None:
            return Outlook(0.0, None, None)
        return outlook(self.state, self._counted_before, self._working.per_second())

    def see(self, state: WalkState) -> None:
        """Take in the next state of its table; every one, for the last of a walk has its figures.

        Where a later walk is seen without the end of this one, its barrier lies before that walk.
        """
        self.changes += 1
        if state.walk < self.number:
            self._before = state
        elif state.walk == self.number:
            self.state = state
            self._last_barrier = state.barrier if state.status in OVER | UNFINISHED else None
        elif self._last_barrier is None:
            self.state, self._last_barrier = self.state or state, state.barrier

    def measure(self, at: float) -> None:
        """Note how far it is at a time, in seconds on a monotonic clock."""
        if self.state is not None:
            self.fetching.add(at, self.state.pages)
            self._working.add(at, work_done(self.state))


def follow(
    walks: Sequence[FollowedWalk], follower: StateFollower, figures: Figures, tick: float
) -> Iterator[None]:
    """Bring the walks up to date again and again, every `tick` seconds, until all is stored.

    Yields after each time; the last time everything is over and stored.
    """
    by_table = {walk.table: walk for walk in walks}
    asked = 0.0
    while True:
        for state in follower.update(tick):
            if state.table in by_table:
                by_table[state.table].see(state)
        now = time.monotonic()
        for walk in walks:
            walk.measure(now)
        if now - asked >= _STORED_EVERY_SECONDS:
            asked = now
            found = figures.read([(walk.table, walk.number) for walk in walks])
            for walk in walks:
                walk.stored = None if found is None else found[walk.table]
        yield
        if all(walk.everything_stored for walk in walks):
            return


class WalkResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk came to, for a person or a script."""

    site: str
    kind: str
    walk: int
    status: str
    pages: int
    rejected: int
    listed: int
    stored: int
    created: int
    updated: int
    unchanged: int
    dead_lettered: int
    seconds: float | None
    error: str | None


def result_of(walk: FollowedWalk) -> WalkResult:
    """Return the result of a walk that is over; one that never began is `pending`."""
    state = walk.state or WalkState(site=walk.table.site, kind=walk.table.kind)
    held_up_by = walk.held_up_by
    stored = walk.stored or Stored()
    took = None
    if state.started_at is not None and state.ended_at is not None:
        took = round((state.ended_at - state.started_at).total_seconds(), 3)
    return WalkResult(
        site=state.site,
        kind=state.kind,
        walk=walk.number,
        status=state.status,
        pages=state.pages,
        rejected=state.rejected,
        listed=state.listed,
        stored=stored.pages,
        created=stored.created,
        updated=stored.updated,
        unchanged=stored.unchanged,
        dead_lettered=stored.dead_lettered,
        seconds=took,
        error=state.error if held_up_by is None else _why_held_up(held_up_by),
    )


def _why_held_up(before: WalkState) -> str:
    because = f": {before.error}" if before.error else ""
    return f"it waits behind walk {before.walk}, which is {before.status}{because}"
