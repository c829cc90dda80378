"""A site that never changes, asked without a network: what it answers, well or badly."""

from datetime import datetime
from typing import Final

from deciding import page

from producer.decide import FetchedCommand
from producer.responses import (
    Failure,
    Fetched,
    ListingResponse,
    PagesResponse,
    RepairResponse,
)
from schemas.commands import TakeStep

SOUND: Final = "sound"
REASONS: Final = ("timeout", "interrupted", "too_large", "rate_limited", "refused", "not_found",
                  "broken_response", "kills_worker")  # fmt: skip
ANEW: Final = "anew"
"""Sound, and a listing begins at the beginning again: the site no longer lists as it did."""

ANSWERS: Final = [SOUND] * 8 + [ANEW, *REASONS]


def respond(
    source: tuple[str, ...], command: FetchedCommand, answer: str, now: datetime
) -> Fetched:
    """Return what the site answers, or why nothing usable came."""
    if answer in REASONS:
        after = 120.0 if answer == "rate_limited" else None
        return Failure(reason=answer, error=f"it was {answer}", retry_after=after)
    if not isinstance(command, TakeStep):
        there = tuple(page(int(each, 16)) for each in command.ids if each in source)
        absent = tuple(each for each in command.ids if each not in source)
        return RepairResponse(pages=there, rejected=(), absent=absent, requested_at=now, seconds=0)
    listing = command.position.phase == "listing"
    after = None if listing and answer == ANEW else command.position.after
    rest = [each for each in source if after is None or each > after]
    ids = tuple(rest[: command.rows])
    more = ids[-1] if len(rest) > len(ids) else None
    if not listing:
        return PagesResponse(
            pages=tuple(page(int(each, 16)) for each in ids),
            rejected=(), next=more, last_id=ids[-1] if ids else after, requested_at=now, seconds=0,
        )  # fmt: skip
    return ListingResponse(
        ids=ids, after=after, listed_by="paging", next=more, last=more is None,
        requested_at=now, seconds=0,
    )  # fmt: skip
