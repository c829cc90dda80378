"""Rows of the source to pages, or to dead letters: pure, and the same for every dialect."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

import msgspec

from runtime.errors import RecordError
from schemas import codec
from schemas.commands import TakeStep
from schemas.hashing import HASH_VERSION, hash_of, hashed_text, row_hash
from schemas.records import DeadLetter, DeadLetterReason, Page
from schemas.topics import MAX_MESSAGE_BYTES

MAX_ID_LENGTH: Final = 200
MAX_PAGE_NUMBER: Final = 2**31 - 1
MAX_ORIGINAL_BYTES: Final = 1_000_000
"""How much of a row its dead letter keeps."""

MAX_PAGE_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1024
"""The most that a page's message may take: room is left for its key, headers and envelope."""

_CERTAINLY_FITS: Final = 2_000_000
"""Bytes of text that fit into one message whatever they are: JSON makes six of one at most."""

TOO_DEEP: Final = object()
"""Stands for a value that is nested too deeply to be read."""

_UNUSABLE_IN_ID: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_NUL: Final = b"\x00"
_BYTE_ORDER_MARK: Final = "\ufeff"


class RowError(RecordError):
    """A row cannot be stored; `reason` is what its dead letter says."""

    def __init__(self, reason: DeadLetterReason, message: str) -> None:
        super().__init__(reason, message)
        self.reason: DeadLetterReason = reason


class SourceRow(msgspec.Struct, gc=False):
    """A row as the source should send it; columns that are not named here are ignored."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
    page: Annotated[int, msgspec.Meta(ge=0, le=MAX_PAGE_NUMBER)]
    meeting: str | None = None
    date: str | None = None
    text: str | None = None
    page_image: str | None = None
    entities_json: str | None = None
    votes_json: str | None = None


def usable_id(value: object) -> str | None:
    """Return `value` when it can be a page's id, else None.

    An id is a text of 1 to 200 characters without control characters or lone surrogates: it is
    part of keys, and it is never repaired, because a repaired id names another row.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_LENGTH:
        return None
    return None if _UNUSABLE_IN_ID.search(value) else value


def plain_page(row: SourceRow, step: TakeStep) -> Page | None:
    """Return the page that a row decoded from valid UTF-8 is as it stands, as most rows are.

    None for a row that must be judged. What is looked for is looked for where it is fastest found,
    in the text under the hash: a character beyond Latin in Python's own form, NUL in bytes.
    """
    text = hashed_text(_hashed_fields(row))
    if _BYTE_ORDER_MARK in text or _UNUSABLE_IN_ID.search(row.id):
        return None
    content = text.encode()
    if _NUL in content or len(content) > _CERTAINLY_FITS:
        return None
    return _page(row, step, (), hash_of(content))


def to_page(row: SourceRow, step: TakeStep, sanitised: tuple[str, ...]) -> Page:
    """Return the page that a storable row is, hashed as stored."""
    return _page(row, step, sanitised, row_hash(_hashed_fields(row)))


def _page(row: SourceRow, step: TakeStep, sanitised: tuple[str, ...], hashed: int) -> Page:
    return Page(
        site=step.site,
        kind=step.kind,
        id=row.id,
        meeting=row.meeting,
        date=row.date,
        page=row.page,
        text=row.text,
        page_image=row.page_image,
        entities=row.entities_json,
        votes=row.votes_json,
        row_hash=hashed,
        hash_version=HASH_VERSION,
        sanitised=sanitised,
        walk=step.walk,
        step=step.step,
    )


def _hashed_fields(row: SourceRow) -> tuple[str | None, ...]:
    """Return a row's fields in the order of HASHED_FIELDS."""
    return (
        row.id,
        row.meeting,
        row.date,
        str(row.page),
        row.text,
        row.page_image,
        row.entities_json,
        row.votes_json,
    )


def judge(value: object, original: bytes, step: TakeStep, at: datetime) -> Page | DeadLetter:
    """Return the page that a row of JSON is, or its dead letter, whatever it holds.

    `original` is the row as it came, `at` the time of a dead letter.
    """
    try:
        row, sanitised = _read(value)
        page = to_page(row, step, sanitised)
        _check_size(page)
    except RowError as error:
        page_id = usable_id(value.get("id")) if isinstance(value, Mapping) else None
        return _dead_letter(error, page_id, original, step, at)
    return page


def _check_size(page: Page) -> None:
    size = len(codec.encode(page))
    if size > MAX_PAGE_BYTES:
        raise RowError("too_large", f"the page takes {size} bytes, more than {MAX_PAGE_BYTES}")


def _read(value: object) -> tuple[SourceRow, tuple[str, ...]]:
    """Return the row that a JSON value is, made storable, and the page's fields so changed."""
    if not isinstance(value, Mapping):
        raise RowError("wrong_type", f"the row is {_show(value)}, not an object")
    page_id = usable_id(value.get("id"))
    if page_id is None:
        raise _bad_id(value)
    number = _page_number(value.get("page"))
    read = {
        "meeting": _text(value, "meeting"),
        "date": _date(value.get("date")),
        "text": _text(value, "text"),
        "page_image": _text(value, "page_image"),
        "entities": _text(value, "entities_json"),
        "votes": _text(value, "votes_json"),
    }
    clean = {field: _sanitised(text) for field, text in read.items()}
    as_sent = {**read, "date": value.get("date")}
    changed = tuple([field for field in read if clean[field] != as_sent[field]])
    return SourceRow(page_id, number, *clean.values()), changed


def _sanitised(text: str | None) -> str | None:
    """Return text as PostgreSQL can store it: NUL and lone surrogates as U+FFFD, no BOMs."""
    if text is None:
        return None
    return _UNSTORABLE.sub("\ufffd", text).replace(_BYTE_ORDER_MARK, "")


def _page_number(value: object) -> int:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and value.isascii() and value.isdecimal():
        digits = value.lstrip("0") or "0"
        number = int(digits) if len(digits) <= len(str(MAX_PAGE_NUMBER)) else None
    if number is None or not 0 <= number <= MAX_PAGE_NUMBER:
        message = f"page is {_show(value)}, not a whole number from 0 to {MAX_PAGE_NUMBER}"
        raise RowError("bad_page_number", message)
    return number


def _date(value: object) -> str | None:
    """Return a date's text; a value of another type as its JSON, for nothing is known of dates."""
    if value is None or isinstance(value, str):
        return value
    text = _as_json(value, ensure_ascii=False)
    if text is None:
        raise RowError("wrong_type", "date is nested too deeply")
    return text


def _text(row: Mapping[str, object], column: str) -> str | None:
    value = row.get(column)
    if value is None or isinstance(value, str):
        return value
    raise RowError("wrong_type", f"{column} is {_show(value)}, neither text nor null")


def _show(value: object) -> str:
    """Return the beginning of a JSON value, in ASCII: messages must be storable themselves."""
    return (_as_json(value, ensure_ascii=True) or "nested too deeply")[:100]


def _as_json(value: object, *, ensure_ascii: bool) -> str | None:
    """Return a value as JSON; None for one that is nested too deeply for that."""
    try:
        return None if value is TOO_DEEP else json.dumps(value, ensure_ascii=ensure_ascii)
    except RecursionError:
        return None


def _bad_id(row: Mapping[str, object]) -> RowError:
    found = f"is {_show(row['id'])}" if "id" in row else "is missing"
    return RowError("bad_id", f"id {found}, not a text of 1 to {MAX_ID_LENGTH} plain characters")


def _dead_letter(
    error: RowError, page_id: str | None, original: bytes, step: TakeStep, at: datetime
) -> DeadLetter:
    digest = hashlib.sha256(original).hexdigest()
    return DeadLetter(
        site=step.site,
        kind=step.kind,
        identity=page_id or digest,
        page_id=page_id,
        reason=error.reason,
        message=str(error),
        original=original[:MAX_ORIGINAL_BYTES],
        original_length=len(original),
        original_digest=digest,
        walk=step.walk,
        step=step.step,
        found_by="walker",
        at=at,
    )
