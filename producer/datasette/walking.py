"""Steps that read pages: one request, and one more past a row that no response can hold."""

from collections.abc import Callable

from producer.datasette.answers import broken
from producer.datasette.asking import Answer, Asking
from producer.datasette.checks import check_next, check_order, check_some_usable
from producer.datasette.decoding import decode_ids, decode_rows
from producer.datasette.queries import ids_query, pages_query, table_path
from producer.datasette.too_large import too_large_letter
from producer.responses import PagesResponse
from runtime.errors import SourceError
from schemas.commands import TakeStep


def download_pages(asking: Asking, step: TakeStep) -> Callable[[], PagesResponse]:
    """Ask for the pages of a step; return what decodes and judges them.

    A single row that is larger than any response is asked for once more, by its id alone: it
    becomes a dead letter, and what follows it is walked on.
    """
    path = table_path(step.kind)
    try:
        answer = asking.ask(path, pages_query(step))
    except SourceError as error:
        if error.reason != "too_large" or step.rows > 1:
            raise
        too_large = error
        answer = asking.ask(path, ids_query(step))
        return lambda: _past_too_large(answer, step, too_large)
    return lambda: _pages(answer, step)


def _pages(answer: Answer, step: TakeStep) -> PagesResponse:
    body = answer.body
    rows = decode_rows(body, step, answer.requested_at)
    check_some_usable(rows.pages, rows.rejected, body)
    ids = [page.id for page in rows.pages]
    check_order(ids, step.position.after, body)
    check_next(rows.next, len(rows.pages) + len(rows.rejected), step, body)
    return PagesResponse(
        pages=rows.pages,
        rejected=rows.rejected,
        next=rows.next,
        last_id=ids[-1] if ids else step.position.after,
        requested_at=answer.requested_at,
        seconds=answer.seconds,
    )


def _past_too_large(answer: Answer, step: TakeStep, error: SourceError) -> PagesResponse:
    body = answer.body
    ids, rows, token = decode_ids(body)
    check_order(ids, step.position.after, body)
    check_next(token, rows, step, body)
    if rows != 1:
        raise broken(f"it holds {rows} rows, although one was asked for", body)
    last_id = ids[0] if ids else None
    return PagesResponse(
        pages=(),
        rejected=(too_large_letter(step, last_id, error, answer),),
        next=token,
        last_id=last_id or step.position.after,
        requested_at=answer.requested_at,
        seconds=answer.seconds,
    )
