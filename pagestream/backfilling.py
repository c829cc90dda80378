"""Starting walks and following them until everything they fetched is stored."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from pagestream.controls import RESUME, RETRY, start
from pagestream.progress import Outlook, RateMeter, outlook, rows_walked, work_done
from pagestream.walks import OVER, UNFINISHED, StateFollower
from schemas.commands import Request, StartWalk
from schemas.events import CommandAnswered
from schemas.tables import Table
from schemas.walks import RequestedMode, WalkState

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


class Wanted(msgspec.Struct, frozen=True):
    """How a backfill is to walk: in which mode, with how many rows in one response.

    `resume` has it go on with walks that stand still or go on already, instead of beginning others.
    """

    rows: int
    mode: RequestedMode = "auto"
    resume: bool = False


def request_for(state: WalkState, wanted: Wanted) -> Request | None:
    """Return what to ask for so that a table is walked; None where its walk goes on already."""
    if wanted.resume:
        if state.status in ("in_progress", "verifying"):
            return None
        if state.status == "paused":
            return RESUME.request(state)
        if state.status == "failed":
            return RETRY.request(state)
    return start(wanted.mode, wanted.rows).request(state)


def followed(before: WalkState, answer: CommandAnswered | None) -> "FollowedWalk":
    """Return the walk that the answer to a request promises; without one, that which goes on."""
    if answer is None:
        return FollowedWalk(before, goes_on=True)
    if answer.answer != "done":
        return FollowedWalk(before, refusal=f"{answer.answer}: {answer.reason}")
    waits = answer.command == StartWalk.__name__ and answer.walk == before.walk
    return FollowedWalk(before, waits=waits, goes_on=not waits and answer.walk == before.walk)


class FollowedWalk:
    """One walk that somebody waits for: its state, what is stored of it, and how fast it goes.

    `before` is the state in which its table was when the walk was asked for, `waits` whether the
    walker answered that this walk begins when the one before has ended, `goes_on` whether it is the
    very walk that the table was in. `refusal` is why there will be none.
    """

    def __init__(
        self,
        before: WalkState,
        *,
        waits: bool = False,
        goes_on: bool = False,
        refusal: str | None = None,
    ) -> None:
        self.table: Final = before.table
        self.number: Final = before.walk if goes_on else before.walk + 1
        self.refusal: Final = refusal
        self.state: WalkState | None = before if goes_on else None
        self.stored: Stored | None = None
        self.changes = 0
        """How many changes of its table's state were seen: while it grows, a walker is at work."""
        self.fetching = RateMeter()
        self._working = RateMeter()
        self._waits = waits
        self._before = before
        self._still_stands = goes_on and before.status in UNFINISHED
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
            return self.refusal is not None or self.held_up_by is not None
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

    @property
    def work(self) -> float:
        """How much of its work it has done: see `progress.work_done`."""
        return 0.0 if self.state is None else work_done(self.state)

    def outlook(self) -> Outlook:
        """Return how far it is."""
        if self.state is None:
            return Outlook(0.0, rows_walked(self._before, "full"), None)
        walked_before = rows_walked(self._before, self.state.mode)
        return outlook(self.state, walked_before, self._working.per_second())

    def see(self, state: WalkState) -> None:
        """Take in the next state of its table; every one, for the last of a walk has its figures.

        Where a later walk is seen without the end of this one, its barrier lies before that walk.
        """
        self.changes += 1
        # A walk that was told to go on does so: what it was before is no end.
        self._still_stands = self._still_stands and state.status in UNFINISHED
        if self._still_stands and state.walk == self.number:
            return
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
            self._working.add(at, self.work)


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
    """What a walk came to, for a person or a script.

    `pages` were fetched, and of these `stored` are in the database; `errors` are rows that could
    not be stored: `rejected` by the walker and `dead_lettered` by the sink. `expected` is how many
    rows should be there: by the verdict, else by the listing. `actual` is how many are: by the
    verdict, else what this walk stored; None where it fetched no pages and nobody judged it.
    """

    site: str
    kind: str
    walk: int
    mode: str
    status: str
    verdict: str | None
    pages: int
    rejected: int
    listed: int
    stored: int
    created: int
    updated: int
    unchanged: int
    deleted: int
    dead_lettered: int
    errors: int
    expected: int | None
    actual: int | None
    retries: int
    seconds: float | None
    error: str | None


def result_of(walk: FollowedWalk) -> WalkResult:
    """Return the result of a walk that is over; one that never began is `pending`."""
    state = walk.state or WalkState(site=walk.table.site, kind=walk.table.kind)
    stored = walk.stored or Stored()
    expected, actual = _whole(state, stored)
    return WalkResult(
        site=state.site,
        kind=state.kind,
        walk=walk.number,
        mode=state.mode,
        status=state.status,
        verdict=state.verdict,
        pages=state.pages,
        rejected=state.rejected,
        listed=state.listed,
        stored=stored.pages,
        created=stored.created,
        updated=stored.updated,
        unchanged=stored.unchanged,
        deleted=stored.deleted,
        dead_lettered=stored.dead_lettered,
        errors=state.rejected + stored.dead_lettered,
        expected=expected,
        actual=actual,
        retries=state.retries,
        seconds=_seconds(state),
        error=walk.refusal or _why_held_up(walk.held_up_by) or state.error,
    )


def _whole(state: WalkState, stored: Stored) -> tuple[int | None, int | None]:
    """Return how many rows there should be, and how many there are."""
    if state.expected is not None:
        return state.expected, state.stored
    listed = state.listed if state.listed_at is not None and state.position is None else None
    return listed, None if state.mode == "verify" else stored.pages


def _seconds(state: WalkState) -> float | None:
    if state.started_at is None or state.ended_at is None:
        return None
    return round((state.ended_at - state.started_at).total_seconds(), 3)


def _why_held_up(before: WalkState | None) -> str | None:
    if before is None:
        return None
    because = f": {before.error}" if before.error else ""
    return f"it waits behind walk {before.walk}, which is {before.status}{because}"
