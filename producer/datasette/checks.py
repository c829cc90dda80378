"""What no sound response of the source can be: out of order, without an end, without one page."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from producer.datasette.answers import broken
from schemas.commands import TakeStep
from schemas.records import DeadLetter, Page

FEWEST_ALL_REFUSED: Final = 20
"""From so many rows on, a response without one that can be stored is not about its rows."""


def check_some_usable(pages: Sequence[Page], rejected: Sequence[DeadLetter], body: bytes) -> None:
    """Refuse a response of many rows that holds no page: a column was renamed, or lost.

    Row by row they would all be dead letters, and the walk would end as if all were well.
    """
    if not pages and len(rejected) >= FEWEST_ALL_REFUSED:
        first = rejected[0].message
        raise broken(f"every one of its {len(rejected)} rows was refused: {first}", body)


def check_order(ids: Sequence[str], after: str | None, body: bytes) -> None:
    """Refuse ids that do not rise from `after`: the cursor was not understood, or the sort lost.

    Python compares texts by code point, which is the order of their UTF-8 bytes, SQLite's own.
    """
    if ids and after is not None and ids[0] <= after:
        raise broken(f"it begins at id {ids[0]!r}, which is not beyond {after!r}", body)
    for one, other in pairwise(ids):
        if one >= other:
            raise broken(f"its ids do not rise: {one!r} before {other!r}", body)


def check_next(token: str | None, rows: int, step: TakeStep, body: bytes) -> None:
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
