"""The state of a table's walk: the progress record that `walks` keeps, one per (site, kind)."""

from datetime import datetime
from typing import Literal

import msgspec

from schemas.message import Message
from schemas.tables import Kind, Table
from schemas.verdicts import Outcome as VerdictOutcome

Mode = Literal["full", "incremental", "verify"]
RequestedMode = Literal["auto", "full", "incremental", "verify"]
Phase = Literal["pages", "listing"]
ListedBy = Literal["sql", "paging"]
Window = tuple[str, str]
"""The first and the last date of an incremental walk, inclusive, as the source writes dates."""

Status = Literal[
    "pending",
    "in_progress",
    "verifying",
    "paused",
    "failed",
    "cancelled",
    "completed",
    "unverified",
    "held",
    "removed",
]


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where in the source the next request begins.

    `cursor` is the source's own `next` token, passed back as it came; None is the beginning of the
    phase. `after` is the last id of the response before: the next one must begin beyond it.
    `listed_by` is how the listing under way is taken: it stays with what it was begun with.
    """

    phase: Phase
    cursor: str | None = None
    after: str | None = None
    listed_by: ListedBy | None = None


class FollowUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The one walk that waits for the current one: the strongest of all that were asked for.

    `auto` is resolved when it begins, for the walk it waits for may change what is needed.
    """

    mode: RequestedMode
    rows: int


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How often a table is walked: seconds between two walks of each mode, None for never.

    A stronger walk counts for the weaker: full for incremental, and both for verify.
    """

    full_every: float | None = None
    incremental_every: float | None = None
    verify_every: float | None = None


class WaitingRepair(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A repair that could not be made yet; fields as in `schemas.commands.Repair`."""

    action: Literal["refetch", "prune"]
    command_id: str
    sent_by: str
    sent_at: datetime
    round: int
    ids: tuple[str, ...]
    control_id: str | None = None


class WalkState(Message, frozen=True, kw_only=True):
    """All that the walker knows of one table; its record on `walks` is half of the checkpoint.

    `revision` rises with every change. The rest, in groups:

    - The walk: `walk` numbers the table's walks from 1; `mode`, and the `window` of an incremental
      one; `rows` is the number of rows asked for in one response, `size` what is asked for now,
      less after a query that took the source too long, and `sound` counts the usable responses
      since. `steps` is the number of steps taken.
    - What is due: `position` is where the next step begins, kept while a walk is failed or paused,
      None when there is none. `repairs` wait for their turn, the first is due. `attempt` counts the
      tries at what is due, `refusals` how often in a row the source said "too many requests", which
      is no try. `retry_at` is when to try again, `retry_seconds` after the failure, whatever the
      clock says then.
    - Figures of this walk: `pages` published, rows `rejected`, ids `listed`, `retries`. `expected`
      and `stored` are the verdict's.
    - The end: `barrier` is the number of the table's newest barrier. `listed_at` is the time of the
      listing's first request: the time for which the copy can be called complete. `verdict_due_at`
      is when waiting for a verdict ends, `verdict` the newest one, `verified_at` the time for which
      the table was last verified.
    - What comes next: `follow_up`; `next_walk_at` and `next_walk_mode`, by `schedule` (None: the
      settings' own), reckoned from `added_at` and from when the newest walk of each mode began.
    - Which mode is needed: `full_ended` is the newest full walk that came to its end, and
      `full_verified` says that one was verified. `full_forced_after`: only a full walk with a
      greater number satisfies whoever forced it. `held_rows` says that the table ever held a row;
      `unsettled` counts the walks in a row that nobody judged in time.
    - `secret` names the site's own service secret. `recent` are the ids of the newest requests that
      were done: a doubled one is answered as stale. `error` is what is wrong now, `last_error` what
      was wrong last.
    """

    site: str
    kind: Kind
    revision: int = 0
    status: Status = "pending"
    walk: int = 0
    mode: Mode = "full"
    window: Window | None = None
    rows: int = 1000
    size: int = 1000
    sound: int = 0
    steps: int = 0
    position: Position | None = None
    repairs: tuple[WaitingRepair, ...] = ()
    attempt: int = 0
    refusals: int = 0
    retry_at: datetime | None = None
    retry_seconds: float = 0.0
    pages: int = 0
    rejected: int = 0
    listed: int = 0
    retries: int = 0
    expected: int | None = None
    stored: int | None = None
    barrier: int = 0
    listed_at: datetime | None = None
    verdict_due_at: datetime | None = None
    verdict: VerdictOutcome | None = None
    verified_at: datetime | None = None
    follow_up: FollowUp | None = None
    next_walk_at: datetime | None = None
    next_walk_mode: RequestedMode | None = None
    schedule: Schedule | None = None
    added_at: datetime | None = None
    full_at: datetime | None = None
    incremental_at: datetime | None = None
    verify_at: datetime | None = None
    full_ended: int | None = None
    full_verified: bool = False
    full_forced_after: int | None = None
    held_rows: bool = False
    unsettled: int = 0
    secret: str | None = None
    recent: tuple[str, ...] = ()
    error: str | None = None
    last_error: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def table(self) -> Table:
        """The table this is the state of."""
        return Table(self.site, self.kind)

    @property
    def full_forced(self) -> bool:
        """Whether somebody demanded a full walk, and has not had it yet."""
        return self.full_forced_after is not None
