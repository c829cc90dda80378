"""Responses of the source to rows: by status, then content type, then shape, then row by row."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from producer.datasette.rows import TOO_DEEP, SourceRow, is_plain, judge, to_page, usable_id
from runtime.errors import SourceError
from runtime.http import Reason, Received, excerpt, failure
from schemas.commands import TakeStep
from schemas.records import DeadLetter, Page

MAX_TOKEN_LENGTH: Final = 60_000
"""The longest `next` token believed: it goes into an address, and none is made beyond 65,536.

The source makes it of the last row's id, twice, whatever that id is: one that is too long to be
stored, or one that takes twelve characters for each of its own, must not end the walk.
"""

_STATUS_REASONS: Final[dict[int, Reason]] = {
    302: "no_such_site",
    401: "refused",
    402: "rate_limited",
    403: "refused",
    404: "not_found",
    429: "rate_limited",
}
_OK: Final = 200
_SERVER_ERRORS: Final = range(500, 600)
# What a query over the source's time limit is answered with: 400 by 0.6x, 500 by 1.0.
_OVER_TIME_STATUSES: Final = frozenset({400, 500})
_OVER_TIME_WORDS: Final = (b"interrupted", b"took too long")
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_LONGEST_INTEGER: Final = 300
# Brackets, and whole texts, so that no bracket within one is taken for another.
_MARKS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


class Rows(msgspec.Struct, frozen=True):
    """What one usable response holds: rows judged, in the source's order, and its `next`."""

    pages: tuple[Page, ...]
    rejected: tuple[DeadLetter, ...]
    next: str | None


_MEANINGS: Final = {
    "interrupted": "the query took longer than the site allows; ask for fewer rows at once",
    "rate_limited": "too many requests for this site",
    "refused": "it does not let us read this table",
    "no_such_site": "it knows no such site",
    "not_found": "it has no such table",
    "server_error": "a fault of the site's own",
}


class _Answer(msgspec.Struct):
    rows: list[SourceRow]
    next: str | None


_typed: Final = msgspec.json.Decoder(_Answer)


def usable_body(received: Received) -> bytes:
    """Return the body of a response that claims to hold rows; SourceError says why it does not."""
    if received.status != _OK:
        raise _refusal(received)
    kind = received.content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise broken(f"it is {kind or 'without a type'}, not JSON", received.body)
    return received.body


def _refusal(received: Received) -> SourceError:
    status, said = received.status, received.body.lower()
    reason = _STATUS_REASONS.get(status, "broken_response")
    if status in _SERVER_ERRORS:
        reason = "server_error"
    if status in _OVER_TIME_STATUSES and any(word in said for word in _OVER_TIME_WORDS):
        reason = "interrupted"
    if reason == "rate_limited" and b"query_too_long" in said:
        reason = "refused"
    meaning = _MEANINGS.get(reason, "nothing that a walk knows")
    return failure(reason, f"the source answered {status}: {meaning}", received=received.excerpt)


def broken(what: str, body: bytes) -> SourceError:
    """Return the error of a response that cannot be believed."""
    return failure("broken_response", f"unusable response: {what}", received=excerpt(body))


def decode_rows(body: bytes, step: TakeStep, at: datetime) -> Rows:
    """Return the rows of a response as pages and dead letters; SourceError when it is none.

    The fast way takes a response in which every row is as it should be. One row that is not sends
    the whole response the slow way, where each row is judged alone.
    """
    return _read_typed(body, step) or _judge_each(body, step, at)


def _read_typed(body: bytes, step: TakeStep) -> Rows | None:
    """Return the rows of a response without fault, else None."""
    try:
        answer = _typed.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not all(map(is_plain, answer.rows)):
        return None
    pages = tuple([to_page(row, step) for row in answer.rows])
    return Rows(pages, (), _token(answer.next, body))


def decode_ids(body: bytes) -> tuple[tuple[str, ...], int, str | None]:
    """Return the usable ids of a listing's response, the number of its rows, and its `next`.

    A row without a usable id cannot be listed; where pages are read it is dead-lettered.
    """
    values, token = _read_loosely(body)
    ids = [usable_id(row.get("id")) if isinstance(row, dict) else None for row, _ in values]
    return tuple([id_ for id_ in ids if id_ is not None]), len(values), token


def _judge_each(body: bytes, step: TakeStep, at: datetime) -> Rows:
    values, token = _read_loosely(body)
    judged = [judge(value, original, step, at) for value, original in values]
    return Rows(
        tuple([row for row in judged if isinstance(row, Page)]),
        tuple([row for row in judged if isinstance(row, DeadLetter)]),
        token,
    )


def _token(value: object, body: bytes) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TOKEN_LENGTH:
        raise broken("its next is not a token", body)
    if not value.isascii() or not value.isprintable():
        raise broken("its next is not a token", body)
    return value


def _read_loosely(body: bytes) -> tuple[list[tuple[object, bytes]], str | None]:
    """Return each row as JSON and as its bytes, and `next`, of a body that may be damaged.

    What is not UTF-8 becomes lone surrogates, a BOM before the body goes, NaN, control characters
    and numbers of any length are read, and TOO_DEEP stands for what is nested too deeply: so damage
    stays within its row.
    """
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        answer = _answer(text)
    except ValueError as error:
        raise broken(f"it is not JSON: {error}", body) from None
    if "rows" not in answer or "next" not in answer:
        raise broken("rows or next is missing", body)
    rows = answer["rows"]
    if not isinstance(rows, _Elements):
        raise broken("its rows are not an array", body)
    return rows.values, _token(answer["next"], body)


class _Elements:
    """The elements of the array of rows, each with the bytes it was read from."""

    def __init__(self, values: list[tuple[object, bytes]]) -> None:
        self.values = values


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


_json: Final = json.JSONDecoder(strict=False, parse_int=_integer)


def _answer(text: str) -> dict[str, object]:
    """Return the object that `text` is; ValueError when it is none."""
    members, end = _members(text, _space(text, 0), _read_member)
    if _space(text, end) != len(text):
        raise ValueError("something follows its end")
    return members


def _read_member(key: str, text: str, at: int) -> tuple[object, int]:
    if key == "rows" and text.startswith("[", at):
        return _elements(text, at)
    return _value(text, at)


def _members(
    text: str, at: int, read: Callable[[str, str, int], tuple[object, int]]
) -> tuple[dict[str, object], int]:
    """Return the members of the object at `at`, and where it ends; `read` reads one's value."""
    members: dict[str, object] = {}
    at = _expect(text, at, "{")
    if text.startswith("}", at):
        return members, at + 1
    while True:
        if not text.startswith('"', at):
            raise ValueError(f"no text at character {at}")
        key, at = _json.raw_decode(text, at)
        at = _expect(text, at, ":")
        members[key], at = read(key, text, at)
        at = _space(text, at)
        if not text.startswith(",", at):
            return members, _expect(text, at, "}")
        at = _expect(text, at, ",")


def _elements(text: str, at: int) -> tuple[_Elements, int]:
    at = _expect(text, at, "[")
    values: list[tuple[object, bytes]] = []
    if text.startswith("]", at):
        return _Elements(values), at + 1
    while True:
        value, end = _row(text, at)
        values.append((value, text[at:end].encode("utf-8", "surrogateescape")))
        at = _space(text, end)
        if not text.startswith(",", at):
            return _Elements(values), _expect(text, at, "]")
        at = _expect(text, at, ",")


def _row(text: str, at: int) -> tuple[object, int]:
    """Return a row and where it ends; its columns are read one by one where one is too deep."""
    value, end = _value(text, at)
    if value is TOO_DEEP and text.startswith("{", at):
        value, _ = _members(text, at, lambda _, text, at: _value(text, at))
    return value, end


def _value(text: str, at: int) -> tuple[object, int]:
    try:
        return _json.raw_decode(text, at)
    except RecursionError:
        return TOO_DEEP, _end(text, at)


def _end(text: str, at: int) -> int:
    """Return where the array or object at `at` ends, however deep it is."""
    depth = 0
    for mark in _MARKS.finditer(text, at):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    raise ValueError("it breaks off")


def _expect(text: str, at: int, mark: str) -> int:
    at = _space(text, at)
    if not text.startswith(mark, at):
        raise ValueError(f"no {mark!r} at character {at}")
    return _space(text, at + 1)


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
