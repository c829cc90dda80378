"""Repairs: what the source has under exactly the ids that were asked for, proven to be all of it.

An id that is missing from an answer may be gone, or the answer may be short: cut to a front end's
or the site's own limit, or given while the table is filled anew. What is missing may be deleted, so
an answer must prove that it is whole:

1. Every request asks for the control id too, which is known to be there; for a command without one
   the source's own first id serves. Only a table without rows has none: then all ids are gone.
2. The rows come by SQL, each with the number of all of them. Where the site takes no SQL, or cuts
   its answer, they come from the table endpoint, which counts them, followed to its end.
3. Broken is an answer that was truncated, that has a row nobody asked for, one twice, or not as
   many as were counted, or that lacks the control row (see `wholeness`).
4. Where the answer is too much for the site or for one response, half as many are asked for at
   once. A row that is too large even alone becomes a dead letter.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from producer.datasette import wholeness
from producer.datasette.answers import broken
from producer.datasette.asking import Answer, Asking
from producer.datasette.checks import check_some_usable
from producer.datasette.decoding import LooseAnswer, decode_ids, read_answer
from producer.datasette.queries import (
    first_ids_query,
    present_query,
    rows_query,
    rows_sql,
    split_ids,
    table_path,
)
from producer.datasette.rows import judge
from producer.datasette.sql import SqlAccess
from producer.datasette.too_large import too_large_letter
from producer.responses import RepairResponse
from runtime.errors import SourceError
from schemas.commands import PrunePages, RefetchPages, TakeStep
from schemas.records import DeadLetter, Page
from schemas.walks import Position

Repair = RefetchPages | PrunePages

_TOO_MUCH: Final = frozenset({"too_large", "interrupted"})
_COUNTS: Final = ("count", "filtered_table_rows_count")
"""Where 1.0 and 0.6x say how many rows a query of the table endpoint has."""


class _Part(msgspec.Struct, frozen=True):
    """The ids of one request, the control id first, and what was answered, to its end.

    `too_large` is why only the ids of the rows were asked for.
    """

    ids: tuple[str, ...]
    answers: tuple[Answer, ...]
    too_large: SourceError | None = None


class _Outline(msgspec.Struct):
    truncated: bool = False
    next: str | None = None


_outline: Final = msgspec.json.Decoder(_Outline)


def download_repair(
    asking: Asking, sql: SqlAccess, command: Repair
) -> Callable[[], RepairResponse]:
    """Ask for the rows of a repair; return what decodes and judges them."""
    control_id = command.control_id
    if control_id is None:
        first = asking.ask(table_path(command.kind), first_ids_query())
        control_id = _first_id(first)
        if control_id is None:
            return lambda: _response(command, {}, (first,))
    rows = _Rows(asking, sql, command)
    others = [page_id for page_id in dict.fromkeys(command.ids) if page_id != control_id]
    parts = [part for ids in split_ids(others, control_id) for part in rows.parts(ids)]
    return lambda: _judged(command, parts)


def _first_id(answer: Answer) -> str | None:
    """Return a table's first id, None for a table without rows."""
    ids, rows, token = decode_ids(answer.body)
    if not ids and (rows or token is not None):
        raise broken("none of its rows has an id by which to know it again", answer.body)
    return ids[0] if ids else None


class _Rows:
    """Asks for the rows of one repair."""

    def __init__(self, asking: Asking, sql: SqlAccess, command: Repair) -> None:
        self._asking = asking
        self._sql = sql
        self._command = command

    def parts(self, ids: tuple[str, ...]) -> list[_Part]:
        """Return the answers for these ids, in as many parts as it takes."""
        control_id, *others = ids
        try:
            return [self._by_sql(ids) or self._by_paging(ids, rows_query)]
        except SourceError as error:
            if error.reason not in _TOO_MUCH:
                raise
            if len(others) > 1:
                half = len(others) // 2
                halves = (others[:half], others[half:])
                return [part for few in halves for part in self.parts((control_id, *few))]
            if error.reason != "too_large":
                raise
            present = self._by_paging(ids, present_query)
            return [msgspec.structs.replace(present, too_large=error)]

    def _by_sql(self, ids: tuple[str, ...]) -> _Part | None:
        """Return the answer to SQL, None where the site takes none, or cuts what it gives."""
        command = self._command
        query = rows_sql(command.kind, ids)
        answer = self._sql.ask(self._asking, command.table, command.walk, query)
        if answer is None or _read_outline(answer.body).truncated:
            return None
        return _Part(ids, (answer,))

    def _by_paging(
        self, ids: tuple[str, ...], query: Callable[[Sequence[str], str | None], Mapping[str, str]]
    ) -> _Part:
        path = table_path(self._command.kind)
        answers = [self._asking.ask(path, query(ids, None))]
        cursors: set[str] = set()
        while (cursor := _read_outline(answers[-1].body).next) is not None:
            # Each response holds a row at least, and no cursor comes twice.
            if cursor in cursors or len(answers) > len(ids):
                raise broken("its cursors do not come to an end", answers[-1].body)
            cursors.add(cursor)
            answers.append(self._asking.ask(path, query(ids, cursor)))
        return _Part(ids, tuple(answers))


def _read_outline(body: bytes) -> _Outline:
    """Return what a body says of itself, without its rows where these are as they should be."""
    try:
        return _outline.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = read_answer(body)
    truncated = bool(answer.members.get("truncated"))
    return _Outline(truncated, answer.token(body) if "next" in answer.members else None)


def _judged(command: Repair, parts: Sequence[_Part]) -> RepairResponse:
    step = TakeStep(
        site=command.site,
        kind=command.kind,
        walk=command.walk,
        step=0,
        position=Position(phase="pages"),
        rows=1,
    )
    found: dict[str, Page | DeadLetter] = {}
    for part in parts:
        found |= _rows_of(part, step)
    answers = tuple([answer for part in parts for answer in part.answers])
    pages = [row for row in found.values() if isinstance(row, Page)]
    rejected = [row for row in found.values() if isinstance(row, DeadLetter)]
    check_some_usable(pages, rejected, answers[0].body)
    return _response(command, found, answers)


def _rows_of(part: _Part, step: TakeStep) -> dict[str, Page | DeadLetter]:
    """Return each row of a part by its id; SourceError where they are not certainly all."""
    rows: dict[str, Page | DeadLetter] = {}
    read = [(read_answer(answer.body), answer) for answer in part.answers]
    for loose, answer in read:
        wholeness.check_not_truncated(loose, answer.body)
        for value, original in loose.rows:
            page_id = value.get("id") if isinstance(value, Mapping) else None
            wholeness.check_asked(page_id, part.ids, answer.body)
            wholeness.check_once(str(page_id), rows, answer.body)
            rows[str(page_id)] = (
                judge(value, original, step, answer.requested_at)
                if part.too_large is None
                else too_large_letter(step, str(page_id), part.too_large, answer)
            )
    body = part.answers[0].body
    wholeness.check_control(part.ids[0], rows, body)
    wholeness.check_count(_counted(read[0][0]), rows, body)
    return rows


def _counted(answer: LooseAnswer) -> object:
    """Return how many rows there are, by the source's own count; None where it gives none."""
    for name in _COUNTS:
        if name in answer.members:
            return answer.members[name]
    first = answer.rows[0][0] if answer.rows else None
    return first.get("rows_in_all") if isinstance(first, Mapping) else None


def _response(
    command: Repair, found: Mapping[str, Page | DeadLetter], answers: Sequence[Answer]
) -> RepairResponse:
    asked = [(page_id, found.get(page_id)) for page_id in dict.fromkeys(command.ids)]
    return RepairResponse(
        pages=tuple([row for _, row in asked if isinstance(row, Page)]),
        rejected=tuple([row for _, row in asked if isinstance(row, DeadLetter)]),
        absent=tuple([page_id for page_id, row in asked if row is None]),
        requested_at=answers[0].requested_at,
        seconds=sum(answer.seconds for answer in answers),
    )
