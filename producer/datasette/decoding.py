"""Bodies of the source to rows: by their shape, and then row by row."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from producer.datasette.answers import broken
from producer.datasette.rows import TOO_DEEP, SourceRow, judge, plain_page, usable_id
from schemas.commands import TakeStep
from schemas.records import DeadLetter, Page

MAX_TOKEN_LENGTH: Final = 60_000
"""The longest `next` token believed: it goes into an address, and none is made beyond 65,536.

The source makes it of the last row's id, twice, whatever that id is: one that is too long to be
stored, or one that takes twelve characters for each of its own, must not end the walk.
"""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_LONGEST_INTEGER: Final = 300
# Brackets, and whole texts, so that no bracket within one is taken for another.
_MARKS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


class Rows(msgspec.Struct, frozen=True):
    """What one usable response holds: rows judged, in the source's order, and its `next`."""

    pages: tuple[Page, ...]
    rejected: tuple[DeadLetter, ...]
    next: str | None


class _Answer(msgspec.Struct):
    rows: list[SourceRow]
    next: str | None


_typed: Final = msgspec.json.Decoder(_Answer)


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
    pages: list[Page] = []
    for row in answer.rows:
        page = plain_page(row, step)
        if page is None:
            return None
        pages.append(page)
    return Rows(tuple(pages), (), _token(answer.next, body))


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


class LooseAnswer(msgspec.Struct, frozen=True):
    """A response read without any expectation of its rows: each is its JSON and its bytes."""

    rows: list[tuple[object, bytes]]
    members: Mapping[str, object]

    def token(self, body: bytes) -> str | None:
        """Return `next`; SourceError when it is not there, or no token."""
        if "next" not in self.members:
            raise broken("rows or next is missing", body)
        return _token(self.members["next"], body)


def read_answer(body: bytes) -> LooseAnswer:
    """Return the rows and all other members of a body that may be damaged.

    What is not UTF-8 becomes lone surrogates, a BOM before the body goes, NaN, control characters
    and numbers of any length are read, and TOO_DEEP stands for what is nested too deeply: so damage
    stays within its row. SourceError when it is no object with an array of rows.
    """
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        members = _answer(text)
    except ValueError as error:
        raise broken(f"it is not JSON: {error}", body) from None
    if "rows" not in members:
        raise broken("rows or next is missing", body)
    rows = members.pop("rows")
    if not isinstance(rows, _Elements):
        raise broken("its rows are not an array", body)
    return LooseAnswer(rows.values, members)


def _read_loosely(body: bytes) -> tuple[list[tuple[object, bytes]], str | None]:
    """Return each row as JSON and as its bytes, and `next`, of a body that may be damaged."""
    answer = read_answer(body)
    return answer.rows, answer.token(body)


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
