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
from schemas.hashing import HASH_VERSION, row_hash
from schemas.records import DeadLetter, DeadLetterReason, Page
from schemas.topics import MAX_MESSAGE_BYTES

MAX_ID_LENGTH: Final = 200
MAX_PAGE_NUMBER: Final = 2**31 - 1
MAX_ORIGINAL_BYTES: Final = 1_000_000
"""How much of a row its dead letter keeps."""

MAX_PAGE_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1024
"""The most that a page's message may take: room is left for its key, headers and envelope."""

_MOST_BYTES_A_CHARACTER: Final = 6  # \u0001 in JSON
_UNUSABLE_IN_ID: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_BYTE_ORDER_MARK: Final = "\ufeff"


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


def judge(value: object, original: bytes, step: TakeStep, at: datetime) -> Page | DeadLetter:
    """Return the page that a row of JSON is, or its dead letter, whatever it holds.

    `original` is the row as it came, `at` the time of a dead letter.
    """
    try:
        row, coerced = _read(value)
        return to_page(row, step, coerced)
    except RecordError as error:
        page_id = usable_id(value.get("id")) if isinstance(value, Mapping) else None
        return _dead_letter(error, page_id, original, step, at)


def to_page(row: SourceRow, step: TakeStep, coerced: tuple[str, ...] = ()) -> Page:
    """Return the page of a row; `coerced` names fields already changed.

    RecordError for an id that cannot be one, or for more than one message may hold.
    """
    if _UNUSABLE_IN_ID.search(row.id):
        raise _bad_id("holds a control character or a lone surrogate")
    meeting, date, text = row.meeting, row.date, row.text
    image, entities, votes = row.page_image, row.entities_json, row.votes_json
    number = str(row.page)
    content = f"{meeting}{date}{text}{image}{entities}{votes}"
    sanitised: tuple[str, ...] = coerced
    if not _is_clean(content):
        fields = {
            "meeting": meeting,
            "date": date,
            "text": text,
            "page_image": image,
            "entities": entities,
            "votes": votes,
        }
        clean = {name: sanitise(field) for name, field in fields.items()}
        meeting, date, text, image, entities, votes = clean.values()
        changed = {name for name in fields if clean[name] != fields[name]} | set(coerced)
        sanitised = tuple(name for name in fields if name in changed)
    page = Page(
        site=step.site,
        kind=step.kind,
        id=row.id,
        meeting=meeting,
        date=date,
        page=row.page,
        text=text,
        page_image=image,
        entities=entities,
        votes=votes,
        row_hash=row_hash((row.id, meeting, date, number, text, image, entities, votes)),
        hash_version=HASH_VERSION,
        sanitised=sanitised,
        walk=step.walk,
        step=step.step,
    )
    _check_size(page, len(content))
    return page


def _is_clean(content: str) -> bool:
    if content.isascii():
        return "\0" not in content
    return not (_UNSTORABLE.search(content) or _BYTE_ORDER_MARK in content)


def sanitise(text: str | None) -> str | None:
    """Return text as PostgreSQL can store it: NUL and lone surrogates as U+FFFD, no BOMs."""
    if text is None:
        return None
    return _UNSTORABLE.sub("\ufffd", text).replace(_BYTE_ORDER_MARK, "")


def _check_size(page: Page, characters: int) -> None:
    if characters * _MOST_BYTES_A_CHARACTER < MAX_PAGE_BYTES // 2:
        return
    size = len(codec.encode(page))
    if size > MAX_PAGE_BYTES:
        raise _error("too_large", f"the page takes {size} bytes, more than {MAX_PAGE_BYTES}")


def _read(value: object) -> tuple[SourceRow, tuple[str, ...]]:
    """Return the row that a JSON value is, and the names of fields whose type was changed."""
    if not isinstance(value, Mapping):
        raise _error("wrong_type", f"the row is {_show(value)}, not an object")
    if usable_id(value.get("id")) is None:
        raise _bad_id(f"is {_show(value['id'])}" if "id" in value else "is missing")
    date = value.get("date")
    as_json = date is not None and not isinstance(date, str)
    row = SourceRow(
        id=value["id"],
        page=_page_number(value.get("page")),
        meeting=_text(value, "meeting"),
        date=json.dumps(date, ensure_ascii=False) if as_json else date,
        text=_text(value, "text"),
        page_image=_text(value, "page_image"),
        entities_json=_text(value, "entities_json"),
        votes_json=_text(value, "votes_json"),
    )
    return row, ("date",) if as_json else ()


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
        raise _error("bad_page_number", message)
    return number


def _text(row: Mapping[str, object], column: str) -> str | None:
    value = row.get(column)
    if value is None or isinstance(value, str):
        return value
    raise _error("wrong_type", f"{column} is {_show(value)}, neither text nor null")


def _show(value: object) -> str:
    """Return the beginning of a JSON value, in ASCII: messages must be storable themselves."""
    return json.dumps(value)[:100]


def _bad_id(what: str) -> RecordError:
    return _error("bad_id", f"id {what}, not a text of 1 to {MAX_ID_LENGTH} printable characters")


def _error(reason: DeadLetterReason, message: str) -> RecordError:
    return RecordError(reason, message)


def _dead_letter(
    error: RecordError, page_id: str | None, original: bytes, step: TakeStep, at: datetime
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
