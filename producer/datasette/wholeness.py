"""What proves that an answer to a repair holds every row that there is: each check is one trap.

The front end cuts what it gives at 100 rows, a site at its own limit, and a table that is being
filled anew answers with what it has so far. All of them look like deletions.
"""

from collections.abc import Collection, Sized

from producer.datasette.answers import broken
from producer.datasette.decoding import LooseAnswer


def check_not_truncated(answer: LooseAnswer, body: bytes) -> None:
    """Refuse an answer that the site itself calls truncated."""
    if answer.members.get("truncated"):
        raise broken("it was truncated", body)


def check_asked(page_id: object, asked: Collection[str], body: bytes) -> None:
    """Refuse a row that nobody asked for: the ids were not understood."""
    if page_id not in asked:
        raise broken(f"it holds a row that was not asked for: {str(page_id)[:100]!r}", body)


def check_once(page_id: str, before: Collection[str], body: bytes) -> None:
    """Refuse a row that comes twice: the cursors of the answer lose others."""
    if page_id in before:
        raise broken(f"id {page_id!r} comes twice", body)


def check_control(control_id: str, rows: Collection[str], body: bytes) -> None:
    """Refuse an answer without the row that is known to be there."""
    if control_id not in rows:
        raise broken(f"id {control_id!r}, which is there, is missing: so may be others", body)


def check_count(counted: object, rows: Sized, body: bytes) -> None:
    """Refuse an answer of more or fewer rows than the source counts."""
    if counted != len(rows):
        raise broken(f"it holds {len(rows)} rows, and counts {counted!r}", body)
