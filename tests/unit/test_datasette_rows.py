"""Rows of the source, one at a time: what is stored, what is repaired, what is dead-lettered."""

import hashlib
import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from producer.datasette import rows
from producer.datasette.rows import (
    MAX_ID_LENGTH,
    MAX_ORIGINAL_BYTES,
    MAX_PAGE_BYTES,
    MAX_PAGE_NUMBER,
    judge,
    usable_id,
)
from schemas import codec
from schemas.commands import TakeStep
from schemas.hashing import HASH_VERSION, row_hash
from schemas.records import DeadLetter, Page
from schemas.walks import Position

STEP = TakeStep(
    site="alameda.ca",
    kind="minutes",
    walk=7,
    step=3,
    position=Position(phase="pages"),
    rows=1000,
)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ROW = {
    "id": "0a1b2c3d4e5f",
    "meeting": "CityCouncil",
    "date": "2024-02-06",
    "page": 3,
    "text": "Call to order",
    "page_image": "/a/b/3.png",
    "entities_json": '{"persons": []}',
    "votes_json": '{"votes": []}',
}
MISSING = object()


def judged(value: object) -> Page | DeadLetter:
    return judge(value, json.dumps(value).encode(), STEP, NOW)


def stored(**changes: Any) -> Page:
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not MISSING}
    page = judged(row)
    assert isinstance(page, Page)
    return page


def rejected(value: object = None, **changes: Any) -> DeadLetter:
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not MISSING}
    letter = judged(row if value is None else value)
    assert isinstance(letter, DeadLetter)
    assert codec.decode(codec.type_header(DeadLetter), codec.encode(letter)) == letter
    return letter


def test_a_row_is_a_page() -> None:
    fields = ("0a1b2c3d4e5f", "CityCouncil", "2024-02-06", "3", "Call to order", "/a/b/3.png")
    assert stored() == Page(
        site="alameda.ca",
        kind="minutes",
        id="0a1b2c3d4e5f",
        meeting="CityCouncil",
        date="2024-02-06",
        page=3,
        text="Call to order",
        page_image="/a/b/3.png",
        entities='{"persons": []}',
        votes='{"votes": []}',
        row_hash=row_hash((*fields, '{"persons": []}', '{"votes": []}')),
        hash_version=HASH_VERSION,
        walk=7,
        step=3,
    )


def test_columns_that_are_missing_are_null() -> None:
    page = judged({"id": "a", "page": 0, "a column of tomorrow": math.nan})
    assert isinstance(page, Page)
    assert (page.meeting, page.date, page.text, page.page_image) == (None, None, None, None)
    assert (page.entities, page.votes, page.sanitised) == (None, None, ())


def test_null_and_empty_text_differ() -> None:
    assert stored(text=None).text is None
    assert stored(text="").text == ""
    assert stored(text=None).row_hash != stored(text="").row_hash


@pytest.mark.parametrize("value", ["a", "0" * 12, "ü", "a/b#c", "x" * MAX_ID_LENGTH, "😀", " "])
def test_any_printable_text_is_an_id(value: str) -> None:
    assert stored(id=value).id == value


@pytest.mark.parametrize(
    "value",
    [
        MISSING,
        None,
        "",
        7,
        7.5,
        True,
        [],
        {},
        "x" * (MAX_ID_LENGTH + 1),
        "a\0",
        "a\n",
        "\x1e",
        "a\x7f",
        "\x80",
        "\ud800",
        "a\udfff",
    ],
)
def test_anything_else_as_an_id_is_a_dead_letter(value: object) -> None:
    assert usable_id(value) is None
    letter = rejected(id=value)
    assert (letter.reason, letter.page_id) == ("bad_id", None)
    assert letter.identity == letter.original_digest
    assert letter.identity == hashlib.sha256(letter.original).hexdigest()


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (3, 3),
        ("3", 3),
        ("007", 7),
        ("0", 0),
        ("0" * 9999 + "5", 5),
        (3.0, 3),
        (-0.0, 0),
        (MAX_PAGE_NUMBER, 2147483647),
        (str(MAX_PAGE_NUMBER), 2147483647),
    ],
)
def test_page_numbers(value: object, number: int) -> None:
    page = stored(page=value)
    assert (page.page, page.sanitised) == (number, ())
    assert page.row_hash == stored(page=number).row_hash


@pytest.mark.parametrize(
    "value",
    [
        MISSING,
        None,
        True,
        False,
        "1.5",
        1.5,
        "",
        " 3",
        "+3",
        "-1",
        -1,
        -1.0,
        2**31,
        2**40,
        str(2**31),
        "9" * 9999,
        1e300,
        math.nan,
        math.inf,
        "three",
        "٣",
        "²",
        [3],
        {"page": 3},
        "\ud800",
    ],
)
def test_anything_else_as_a_page_number_is_a_dead_letter(value: object) -> None:
    letter = rejected(page=value)
    assert (letter.reason, letter.identity, letter.page_id) == (
        "bad_page_number",
        ROW["id"],
        ROW["id"],
    )
    assert letter.found_by == "walker"
    assert (letter.site, letter.kind, letter.walk, letter.step) == ("alameda.ca", "minutes", 7, 3)
    assert letter.at == NOW


@pytest.mark.parametrize("value", ["today", "2024-02-30", "", " 2024-02-06", "2024", None, MISSING])
def test_any_date_is_kept_as_it_is(value: object) -> None:
    page = stored(date=value)
    assert page.date == (None if value is MISSING else value)
    assert page.sanitised == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (20240206, "20240206"),
        (1.5, "1.5"),
        (True, "true"),
        (["ü"], '["ü"]'),
        ({"a": None}, '{"a": null}'),
        (math.nan, "NaN"),
        (["\ud800\0"], '["\ufffd\\u0000"]'),
    ],
)
def test_a_date_of_another_type_is_kept_as_json_and_marked(value: object, text: str) -> None:
    page = stored(date=value)
    assert (page.date, page.sanitised) == (text, ("date",))


@pytest.mark.parametrize("column", ["meeting", "text", "page_image", "entities_json", "votes_json"])
@pytest.mark.parametrize("value", [1, 1.5, True, [], {}, math.nan])
def test_other_columns_of_another_type_are_dead_letters(column: str, value: object) -> None:
    letter = rejected(**{column: value})
    assert (letter.reason, letter.identity) == ("wrong_type", ROW["id"])
    assert column in letter.message


@pytest.mark.parametrize("value", [[], [ROW], "text", 1, 1.5, True, math.nan])
def test_a_row_that_is_no_object_is_a_dead_letter(value: object) -> None:
    letter = rejected(value)
    assert (letter.reason, letter.page_id) == ("wrong_type", None)
    assert letter.identity == letter.original_digest


@pytest.mark.parametrize(
    ("read", "kept"),
    [
        ("\0", "\ufffd"),
        ("a\0b", "a\ufffdb"),
        ("\ud83d", "\ufffd"),
        ("a\udc00b\ud800", "a\ufffdb\ufffd"),
        ("\ufeffText", "Text"),
        ("Te\ufeffxt", "Text"),
        ("\ufeff", ""),
        ("\ufeff\0\ud800", "\ufffd\ufffd"),
    ],
)
@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("meeting", "meeting"),
        ("date", "date"),
        ("text", "text"),
        ("page_image", "page_image"),
        ("entities_json", "entities"),
        ("votes_json", "votes"),
    ],
)
def test_what_cannot_be_stored_is_replaced_and_marked(
    column: str, field: str, read: str, kept: str
) -> None:
    page = stored(**{column: read})
    assert getattr(page, field) == kept
    assert page.sanitised == (field,)
    assert page.row_hash == stored(**{column: kept}).row_hash


def test_every_field_that_changed_is_marked() -> None:
    page = stored(meeting="\0", date=1, votes_json="\ufeff{}", page_image=None)
    assert page.sanitised == ("meeting", "date", "votes")


@pytest.mark.parametrize(
    "text", ["x" * 500_000, "", "😀🇺🇸", "\uf0b7 bullet", "\f", "\ufffd", "\r\n"]
)
def test_odd_text_is_stored_as_it_is(text: str) -> None:
    page = stored(text=text)
    assert (page.text, page.sanitised) == (text, ())


def test_a_page_larger_than_a_message_is_a_dead_letter() -> None:
    largest = stored(text="x" * (MAX_PAGE_BYTES - 1000))
    assert len(codec.encode(largest)) <= MAX_PAGE_BYTES
    for text in ("x" * MAX_PAGE_BYTES, "\x01" * (MAX_PAGE_BYTES // 6 + 1)):
        letter = rejected(text=text)
        assert (letter.reason, letter.identity) == ("too_large", ROW["id"])
        whole = json.dumps({**ROW, "text": text}).encode()
        assert letter.original == whole[:MAX_ORIGINAL_BYTES]
        assert letter.original_length == len(whole)
        assert letter.original_digest == hashlib.sha256(whole).hexdigest()


def test_a_row_that_certainly_fits_does_fit() -> None:
    # A character of JSON takes at most six bytes, so this many never need to be measured.
    assert rows._CERTAINLY_FITS * 6 + 10_000 < MAX_PAGE_BYTES  # noqa: SLF001 - the shortcut's own proof
