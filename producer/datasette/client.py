"""The source's door: one TakeStep is one request, and one usable response or a SourceError."""

import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from producer.datasette.decoding import Rows, broken, decode_ids, decode_rows, usable_body
from producer.pacing import Limiter, Stop, requests_per_minute
from producer.responses import ListingResponse, PagesResponse
from runtime.errors import SourceError
from runtime.http import HttpClient, Received
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.commands import TakeStep
from schemas.tables import Kind

TABLES: Final[dict[Kind, str]] = {"agenda": "agendas", "minutes": "minutes"}
"""The source's own name of each kind's table."""

FEWEST_ALL_REFUSED: Final = 20
"""From so many rows on, a response without one that can be stored is not about its rows."""


class DatasetteSource:
    """Fetches what a step asks for; safe to use from many threads, with one limiter for all.

    `stop` ends a wait for the limiter: `fetch` then raises StopRequestedError. `http` is the door
    that requests go through, by default one of the settings.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, stop: Stop, http: HttpClient | None = None
    ) -> None:
        self._http = http or HttpClient(settings)
        self._metrics = metrics
        self._limiter = Limiter(requests_per_minute(settings, self._http), metrics, stop)

    def fetch(self, step: TakeStep) -> PagesResponse | ListingResponse:
        """Make the step's one request and return what it brought.

        Raises SourceError with one of `runtime.http.Reason`, also where the response contradicts
        the position or itself; StopRequestedError when told to stop before the request was made.
        """
        self._limiter.wait()
        requested_at = datetime.now(UTC)
        try:
            received, seconds = self._ask(step)
            if step.position.phase == "listing":
                return _listing(received, step, requested_at, seconds)
            return _pages(received, step, requested_at, seconds)
        except SourceError as error:
            self._metrics.add("pagestream_requests_failed", reason=error.reason)
            raise

    def close(self) -> None:
        """Close every connection to the source."""
        self._http.close()

    def _ask(self, step: TakeStep) -> tuple[Received, float]:
        """Return what came back, and the seconds that it took."""
        began = time.monotonic()
        try:
            received = self._http.get(
                step.site, f"/meetings/{TABLES[step.kind]}.json", _query(step)
            )
        finally:
            seconds = time.monotonic() - began
            self._metrics.observe("pagestream_request_seconds", seconds)
        return received, seconds


def _query(step: TakeStep) -> dict[str, str]:
    """Return the query of a step.

    `_sort=id` always: a site may sort by something that is not unique, and then its cursors lose
    rows. The three `_no…` spare the source counting and suggesting, which take most of its time.
    """
    query = {
        "_sort": "id",
        "_shape": "objects",
        "_size": str(step.rows),
        "_nocount": "1",
        "_nofacet": "1",
        "_nosuggest": "1",
    }
    if step.position.phase == "listing":
        query["_col"] = "id"
    if step.position.cursor is not None:
        query["_next"] = step.position.cursor
    return query


def _pages(
    received: Received, step: TakeStep, requested_at: datetime, seconds: float
) -> PagesResponse:
    body = usable_body(received)
    rows = decode_rows(body, step, requested_at)
    _check_some_usable(rows, body)
    ids = [page.id for page in rows.pages]
    _check_order(ids, step.position.after, body)
    _check_next(rows.next, len(rows.pages) + len(rows.rejected), step, body)
    return PagesResponse(
        pages=rows.pages,
        rejected=rows.rejected,
        next=rows.next,
        last_id=ids[-1] if ids else step.position.after,
        requested_at=requested_at,
        seconds=seconds,
    )


def _listing(
    received: Received, step: TakeStep, requested_at: datetime, seconds: float
) -> ListingResponse:
    body = usable_body(received)
    ids, rows, token = decode_ids(body)
    _check_order(ids, step.position.after, body)
    _check_next(token, rows, step, body)
    return ListingResponse(ids=ids, next=token, requested_at=requested_at, seconds=seconds)


def _check_some_usable(rows: Rows, body: bytes) -> None:
    """Refuse a response of many rows that holds no page: a column was renamed, or lost.

    Row by row they would all be dead letters, and the walk would end as if all were well.
    """
    if not rows.pages and len(rows.rejected) >= FEWEST_ALL_REFUSED:
        first = rows.rejected[0].message
        raise broken(f"every one of its {len(rows.rejected)} rows was refused: {first}", body)


def _check_order(ids: tuple[str, ...] | list[str], after: str | None, body: bytes) -> None:
    """Refuse ids that do not rise from `after`: the cursor was not understood, or the sort lost.

    Python compares texts by code point, which is the order of their UTF-8 bytes, SQLite's own.
    """
    if ids and after is not None and ids[0] <= after:
        raise broken(f"it begins at id {ids[0]!r}, which is not beyond {after!r}", body)
    for one, other in pairwise(ids):
        if one >= other:
            raise broken(f"its ids do not rise: {one!r} before {other!r}", body)


def _check_next(token: str | None, rows: int, step: TakeStep, body: bytes) -> None:
    """Refuse what cannot be a beginning or an end of anything.

    A source gives a cursor only when there are rows beyond it. None beyond one means a cursor that
    was not understood or a table that is being filled anew: both look like a finished walk.
    """
    if rows == 0 and step.position.cursor is not None:
        raise broken("it holds no rows, although some were to follow this cursor", body)
    if rows == 0 and token is not None:
        raise broken("it holds no rows, and yet something should follow", body)
    if token is not None and token == step.position.cursor:
        raise broken("its next is the cursor that was sent", body)
