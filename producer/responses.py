"""What comes back from a fetch: one usable response of the source, or the reason there is none."""

from datetime import datetime

import msgspec

from schemas.records import DeadLetter, Page


class PagesResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One response of pages, in the source's order.

    `rejected` are the rows that cannot be stored, `next` the source's token for what follows (None:
    this was the last), `last_id` the greatest id of the response, or of the one before it when no
    row of this one has a usable id. `seconds` is how long the request took.
    """

    pages: tuple[Page, ...]
    rejected: tuple[DeadLetter, ...]
    next: str | None
    last_id: str | None
    requested_at: datetime
    seconds: float


class ListingResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One response of ids alone, in the source's order; fields as in PagesResponse."""

    ids: tuple[str, ...]
    next: str | None
    requested_at: datetime
    seconds: float


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no response: a class to group by, a sentence, and the first of what came."""

    reason: str
    error: str
    received: str | None = None


Fetched = PagesResponse | ListingResponse | Failure
