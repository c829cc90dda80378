"""The listing of a table's ids: by SQL where the site takes it, else by paging.

A step asks for one slice. By SQL:

1. One statement gives up to 50,000 ids beyond the last one, and how many there were in all: the
   count says whether the slice is whole, and whether it is the last.
2. Where the site takes no SQL, the same step pages: up to 1,000 ids, and a cursor to the next.
3. A listing stays with what it began with. One that began by SQL and finds it gone begins anew.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from producer.datasette.answers import broken
from producer.datasette.asking import Answer, Asking
from producer.datasette.checks import check_next, check_order
from producer.datasette.decoding import decode_ids
from producer.datasette.queries import ids_query, listing_sql, slice_size, table_path
from producer.datasette.rows import usable_id
from producer.datasette.sql import SqlAccess
from producer.responses import ListingResponse
from runtime.errors import SourceError
from schemas.commands import TakeStep
from schemas.walks import Position

FEWEST_ROWS: Final = 50
"""A slice of so few rows that still takes the site too long is not for its SQL."""


class _Slice(msgspec.Struct):
    ids: str
    remaining: int


class _SqlAnswer(msgspec.Struct):
    rows: list[_Slice]
    truncated: bool


_sql_answer: Final = msgspec.json.Decoder(_SqlAnswer)
_ids: Final = msgspec.json.Decoder(list[str])


def download_listing(
    asking: Asking, sql: SqlAccess, step: TakeStep
) -> Callable[[], ListingResponse]:
    """Ask for a slice of the listing; return what decodes and judges it."""
    position = step.position
    if position.listed_by == "sql" or (position.listed_by is None and position.cursor is None):
        answer = _ask_sql(asking, sql, step)
        if answer is not None:
            return lambda: _slice(answer, step)
        step = msgspec.structs.replace(step, position=Position(phase="listing"))
    paged = asking.ask(table_path(step.kind), ids_query(step))
    return lambda: _paged(paged, step)


def _ask_sql(asking: Asking, sql: SqlAccess, step: TakeStep) -> Answer | None:
    try:
        return sql.ask(asking, step.table, step.walk, listing_sql(step))
    except SourceError as error:
        if error.reason != "interrupted" or step.rows > FEWEST_ROWS:
            raise
    sql.refuse(step.table, step.walk)
    return None


def _slice(answer: Answer, step: TakeStep) -> ListingResponse:
    found, remaining = _read_slice(answer.body)
    after = step.position.after
    _check_whole(len(found), remaining, step, answer.body)
    check_order(found, after, answer.body)
    ids = tuple([page_id for page_id in found if usable_id(page_id) is not None])
    last = len(found) == remaining
    if not last and not ids:
        raise broken(f"none of its {len(found)} ids is one", answer.body)
    return ListingResponse(
        ids=ids,
        after=after,
        listed_by="sql",
        next=None,
        last=last,
        requested_at=answer.requested_at,
        seconds=answer.seconds,
    )


def _read_slice(body: bytes) -> tuple[list[str], int]:
    """Return the ids of a slice, and how many remained when it was read."""
    try:
        answer = _sql_answer.decode(body)
        ids = [_ids.decode(row.ids) for row in answer.rows]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise broken(f"it is no slice of a listing: {error}", body) from None
    if answer.truncated or len(ids) != 1:
        raise broken("it is not one whole row", body)
    return ids[0], answer.rows[0].remaining


def _check_whole(found: int, remaining: int, step: TakeStep, body: bytes) -> None:
    """Refuse a slice that is not as long as the source's own count of what remains demands."""
    if found != min(remaining, slice_size(step)):
        raise broken(f"it holds {found} ids of {remaining} that remained", body)
    if found == 0 and step.position.after is not None:
        raise broken("it holds no ids, although some were to follow", body)


def _paged(answer: Answer, step: TakeStep) -> ListingResponse:
    ids, rows, token = decode_ids(answer.body)
    check_order(ids, step.position.after, answer.body)
    check_next(token, rows, step, answer.body)
    return ListingResponse(
        ids=ids,
        after=step.position.after,
        listed_by="paging",
        next=token,
        last=token is None,
        requested_at=answer.requested_at,
        seconds=answer.seconds,
    )
