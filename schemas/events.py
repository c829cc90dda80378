"""The events of the ledger: together they account for every step, and anyone can add them up."""

from datetime import datetime
from typing import Literal

import msgspec

from schemas.message import Message
from schemas.tables import Kind, Table
from schemas.verdicts import Verdict
from schemas.walks import ListedBy, Mode, Position, Window


class Event(Message, frozen=True, kw_only=True):
    """A record on `ledger`, keyed by its table, written in the transaction of its cause."""

    site: str
    kind: Kind

    @property
    def table(self) -> Table:
        """The table that this event is of."""
        return Table(self.site, self.kind)


class CommandAnswered(Event, frozen=True, kw_only=True):
    """What became of a request: done, refused (a rule forbids it) or stale (time has passed it)."""

    command_id: str
    command: str
    sent_by: str
    answer: Literal["done", "refused", "stale"]
    reason: str | None = None
    walk: int
    at: datetime


class WalkStarted(Event, frozen=True, kw_only=True):
    """A walk began; `window` bounds an incremental one by the raw date text, inclusive."""

    walk: int
    mode: Mode
    rows: int
    window: Window | None = None
    at: datetime


class StepWalked(Event, frozen=True, kw_only=True):
    """One response of pages was published.

    `ids` are in the source's order and `hashes` holds, in the same order, the row hash of each as
    eight bytes big-endian signed; `count` and `hash_sum` are their number and exact sum.
    `rejected` counts the rows that were dead-lettered instead, `sanitised` names the ids that were
    not stored as read. `position` is where the request began, `next` the source's token after it.
    `seconds` is the time that the request took.
    """

    walk: int
    step: int
    position: Position
    next: str | None
    ids: tuple[str, ...]
    hashes: bytes
    count: int
    hash_sum: int
    rejected: int = 0
    sanitised: tuple[str, ...] = ()
    seconds: float
    at: datetime


class SourceListed(Event, frozen=True, kw_only=True):
    """One slice of the source's ids, at most 50,000, in the source's order.

    Slices are chained: `after` is the last id of the slice before (None: this is the first), and
    `last` ends the listing. `requested_at` is when this slice was asked for.
    """

    walk: int
    step: int
    after: str | None = None
    ids: tuple[str, ...]
    listed_by: ListedBy
    last: bool
    requested_at: datetime


class WalkEnded(Event, frozen=True, kw_only=True):
    """All of the walk is in the log, before its barrier. `steps` counts requests of both phases."""

    walk: int
    mode: Mode
    steps: int
    barrier: int
    pages: int
    rejected: int
    listed: int
    listed_at: datetime
    at: datetime


class WalkFailed(Event, frozen=True, kw_only=True):
    """The step, or the repair, that is due could not be made in any of its tries; it stays due.

    `reason` is a class to group by, `error` a sentence, `received` the first of what came back.
    `position` is where the step begins, `command_id` names the repair.
    """

    walk: int
    step: int
    attempt: int
    position: Position | None = None
    command_id: str | None = None
    reason: str
    error: str
    received: str | None = None
    at: datetime


class Amendment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a repair found under one id: the row hash published, or None for a tombstone."""

    id: str
    row_hash: int | None = None


class RowsAmended(Event, frozen=True, kw_only=True):
    """A repair was published, before barrier `barrier`: it overlays the walk's steps, in order."""

    command_id: str
    walk: int
    round: int
    barrier: int
    amendments: tuple[Amendment, ...]
    at: datetime


class VerdictGiven(Event, frozen=True, kw_only=True):
    """A walk was judged, or ended without anyone to judge it."""

    walk: int
    round: int = 0
    verdict: Verdict
    at: datetime
