"""The state of a table's walk: the progress record that `walks` keeps, one per (site, kind)."""

from datetime import datetime
from typing import Literal

import msgspec

from schemas.message import Message
from schemas.tables import Kind, Table

Mode = Literal["full", "incremental", "verify"]
RequestedMode = Literal["auto", "full", "incremental", "verify"]
Phase = Literal["pages", "listing"]
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
    """

    phase: Phase
    cursor: str | None = None
    after: str | None = None


class FollowUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The one walk that waits for the current one: the strongest of all that were asked for."""

    mode: Mode
    rows: int


class WalkState(Message, frozen=True, kw_only=True):
    """All that the walker knows of one table; its record on `walks` is half of the checkpoint.

    `revision` rises by one with every change. `walk` numbers the table's walks from 1. `steps` is
    the number of steps taken in this walk, `attempt` of the tries at the one that is due.
    `position` is where that step begins: kept while a walk is failed or paused, None when no walk
    is under way. `rows` is the number of rows asked for in one response. `pages`, `rejected` and
    `listed` count this walk's pages published, rows dead-lettered and ids listed. `barrier` is the
    number of the table's newest barrier. `listed_at` is the time of the listing's first request:
    the time for which the copy can be called complete.
    """

    site: str
    kind: Kind
    revision: int = 0
    status: Status = "pending"
    walk: int = 0
    mode: Mode = "full"
    rows: int = 1000
    steps: int = 0
    attempt: int = 0
    position: Position | None = None
    pages: int = 0
    rejected: int = 0
    listed: int = 0
    barrier: int = 0
    follow_up: FollowUp | None = None
    error: str | None = None
    started_at: datetime | None = None
    listed_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def table(self) -> Table:
        """The table this is the state of."""
        return Table(self.site, self.kind)
