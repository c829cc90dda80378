"""What the reconciler found: the closed list of outcomes, with the numbers behind each."""

from datetime import datetime
from typing import Literal

import msgspec

Outcome = Literal[
    "balanced",
    "repaired",
    "incomplete",
    "second_look",
    "shrunk",
    "torn",
    "unverifiable",
    "unverified",
    "absent",
]


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The judgement of one walk, as of the moment `as_of` when its listing began.

    `expected`, `stored` and `dead_lettered` count pages; the three id lists name what differs.
    `listed_by` is the evidence: how the source's ids were listed.
    """

    outcome: Outcome
    as_of: datetime | None = None
    expected: int | None = None
    stored: int | None = None
    dead_lettered: int = 0
    missing: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    ghosts: tuple[str, ...] = ()
    listed_by: Literal["sql", "paging"] | None = None
    reason: str | None = None
