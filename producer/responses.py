"""What comes back from a fetch: one usable response of the source, or the reason there is none."""

from datetime import datetime

import msgspec

from schemas.records import DeadLetter, Page
from schemas.walks import ListedBy


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
    """One slice of the source's ids, in the source's order.

    `after` is the last id of the slice before it; None also where the listing had to begin anew,
    because the source no longer lists the way it did. `next` is the source's token for what
    follows, if it gives one; `last` ends the listing.
    """

    ids: tuple[str, ...]
    after: str | None
    listed_by: ListedBy
    next: str | None
    last: bool
    requested_at: datetime
    seconds: float


class RepairResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What the source has under exactly the ids asked for, proven to be a whole answer.

    `absent` are the ids without a row; `pages`, `absent` and the ids of `rejected` together are
    those asked for. The control row is in none of them.
    """

    pages: tuple[Page, ...]
    rejected: tuple[DeadLetter, ...]
    absent: tuple[str, ...]
    requested_at: datetime
    seconds: float


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no response: a class to group by, a sentence, and the first of what came.

    `retry_after` is the source's own word on when to ask again, in seconds from now.
    """

    reason: str
    error: str
    received: str | None = None
    retry_after: float | None = None


Fetched = PagesResponse | ListingResponse | RepairResponse | Failure
