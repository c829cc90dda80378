"""Whole responses: which can be believed, and how damage stays within its row."""

import json
import math
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from producer.datasette import decoding
from producer.datasette.decoding import Rows, decode_ids, decode_rows
from producer.datasette.rows import MAX_PAGE_BYTES, judge
from runtime.errors import SourceError
from schemas import codec
from schemas.commands import TakeStep
from schemas.hashing import row_hash
from schemas.records import DeadLetter, Page
from schemas.walks import Position

STEP = TakeStep(
    site="alameda.ca",
    kind="minutes",
    walk=1,
    step=0,
    position=Position(phase="pages"),
    rows=1000,
)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
JSON = "application/json; charset=utf-8"


def row(page_id: str, **more: Any) -> dict[str, Any]:
    return {"id": page_id, "page": 1, "text": f"Text of {page_id} — ü", **more}


BEFORE, AFTER = row("a"), row("c")
GOOD = json.dumps([BEFORE, AFTER], ensure_ascii=False).encode()[1:-1].split(b", {")
NEIGHBOURS = (GOOD[0], b"{" + GOOD[1])


def response(*rows: bytes, following: bytes = b"null") -> bytes:
    return b'{"ok": true, "next": %b, "rows": [%b], "truncated": false}' % (
        following,
        b", ".join(rows),
    )


def between(middle: bytes) -> Rows:
    """Return what becomes of a response in which `middle` stands between two good rows."""
    return decode_rows(response(NEIGHBOURS[0], middle, NEIGHBOURS[1]), STEP, NOW)


def unbelievable(body: bytes) -> SourceError:
    with pytest.raises(SourceError) as caught:
        decode_rows(body, STEP, NOW)
    assert caught.value.reason == "broken_response"
    assert caught.value.received is not None
    with pytest.raises(SourceError):
        decode_ids(body)
    return caught.value


def test_the_neighbours_are_as_meant() -> None:
    ids = [page.id for page in between(json.dumps(row("b")).encode()).pages]
    assert ids == ["a", "b", "c"]


DAMAGED = {
    "NaN in a column that is not kept": b'{"id": "b", "page": 1, "text": "ok", "score": NaN}',
    "Infinity": b'{"id": "b", "page": 1, "text": "ok", "score": [-Infinity]}',
    "a lone surrogate": b'{"id": "b", "page": 1, "text": "o\\ud800k"}',
    "a lone low surrogate": b'{"id": "b", "page": 1, "text": "o\\udc00k"}',
    "what is not UTF-8": b'{"id": "b", "page": 1, "text": "o\xffk"}',
    "UTF-8 that breaks off": b'{"id": "b", "page": 1, "text": "ok\xe2\x82"}',
    "an encoded surrogate": b'{"id": "b", "page": 1, "text": "o\xed\xa0\x80k"}',
    "NUL": b'{"id": "b", "page": 1, "text": "o\\u0000k"}',
    "a raw control character": b'{"id": "b", "page": 1, "text": "o\nk"}',
    "a BOM": b'{"id": "b", "page": 1, "text": "\\ufeffok"}',
    "a page number as text": b'{"id": "b", "page": "3", "text": "ok"}',
    "a number beyond all digits": b'{"id": "b", "page": 1, "text": "ok", "n": %b}' % (b"9" * 5000),
    "a column twice": b'{"id": "x", "id": "b", "page": 1, "text": "ok"}',
    "a date as a number": b'{"id": "b", "page": 1, "text": "ok", "date": 20240206}',
}


REPAIRED: dict[str, tuple[str, tuple[str, ...]]] = {
    "a lone surrogate": ("o\ufffdk", ("text",)),
    "a lone low surrogate": ("o\ufffdk", ("text",)),
    "what is not UTF-8": ("o\ufffdk", ("text",)),
    "UTF-8 that breaks off": ("ok\ufffd\ufffd", ("text",)),
    "an encoded surrogate": ("o\ufffd\ufffd\ufffdk", ("text",)),
    "NUL": ("o\ufffdk", ("text",)),
    "a raw control character": ("o\nk", ()),
    "a BOM": ("ok", ("text",)),
    "a date as a number": ("ok", ("date",)),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_that_can_be_repaired_costs_no_row(damage: str) -> None:
    rows = between(DAMAGED[damage])
    assert [page.id for page in rows.pages] == ["a", "b", "c"]
    assert rows.rejected == ()
    text, sanitised = REPAIRED.get(damage, ("ok", ()))
    assert [page.text for page in rows.pages] == [BEFORE["text"], text, AFTER["text"]]
    assert [page.sanitised for page in rows.pages] == [(), sanitised, ()]


DOOMED = {
    "id missing": (b'{"page": 1}', "bad_id"),
    "id null": (b'{"id": null, "page": 1}', "bad_id"),
    "id a number": (b'{"id": 7, "page": 1}', "bad_id"),
    "id empty": (b'{"id": "", "page": 1}', "bad_id"),
    "id with a control character": (b'{"id": "\\u0007", "page": 1}', "bad_id"),
    "page 1.5": (b'{"id": "b", "page": "1.5"}', "bad_page_number"),
    "page null": (b'{"id": "b", "page": null}', "bad_page_number"),
    "page -1": (b'{"id": "b", "page": -1}', "bad_page_number"),
    "page 2^40": (b'{"id": "b", "page": 1099511627776}', "bad_page_number"),
    "page text": (b'{"id": "b", "page": "iv"}', "bad_page_number"),
    "page NaN": (b'{"id": "b", "page": NaN}', "bad_page_number"),
    "page of 5,000 digits": (b'{"id": "b", "page": %b}' % (b"9" * 5000), "bad_page_number"),
    "text a number": (b'{"id": "b", "page": 1, "text": 5}', "wrong_type"),
    "no object": (b'["b", 1]', "wrong_type"),
    "null": (b"null", "wrong_type"),
}


@pytest.mark.parametrize("fault", DOOMED)
def test_a_row_that_cannot_be_stored_is_rejected_alone_and_kept_as_it_came(fault: str) -> None:
    original, reason = DOOMED[fault]
    rows = between(original)
    assert [page.id for page in rows.pages] == ["a", "c"]
    (letter,) = rows.rejected
    assert (letter.reason, letter.original) == (reason, original)


def test_the_original_of_a_rejected_row_is_its_very_bytes() -> None:
    original = b'{"page":null , "id":"\\u0062","n":1.10,"text":"\xff \xe2\x82\xac"}'
    (letter,) = between(original).rejected
    assert letter.original == original
    assert letter.identity == "b"


def nested(depth: int) -> bytes:
    """Return arrays and objects within each other, with texts that hold brackets among them."""
    return b'["]{\\"[", {"a]": ' * depth + b"1" + b"}]" * depth


DEPTHS: Final = (100, 5_000, 50_000)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("text", "wrong_type"),
        ("entities_json", "wrong_type"),
        ("page", "bad_page_number"),
        ("id", "bad_id"),
    ],
)
def test_a_column_nested_deeply_costs_its_own_row_alone(
    column: str, reason: str, depth: int
) -> None:
    fields = {"id": b'"b"', "page": b"1"} | {column: nested(depth)}
    original = b"{%b}" % b", ".join(b'"%b": %b' % (k.encode(), v) for k, v in fields.items())
    rows = between(original)
    assert [page.id for page in rows.pages] == ["a", "c"]
    (letter,) = rows.rejected
    assert (letter.reason, letter.original_length) == (reason, len(original))
    assert letter.original == original[:1_000_000]
    assert letter.page_id == (None if column == "id" else "b")
    assert decode_ids(response(*NEIGHBOURS, original))[1] == 3


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_date_nested_deeply_is_stored_as_its_json_or_rejected(depth: int) -> None:
    rows = between(b'{"id": "b", "page": 1, "date": %b}' % nested(depth))
    assert len(rows.pages) + len(rows.rejected) == 3
    assert [letter.reason for letter in rows.rejected] in ([], ["wrong_type"])


@pytest.mark.parametrize(
    ("column", "reason"),
    [("text", "wrong_type"), ("date", "wrong_type"), ("page", "bad_page_number"), ("id", "bad_id")],
)
def test_what_could_be_read_and_cannot_be_written_is_rejected(column: str, reason: str) -> None:
    deep: list[object] = []
    for _ in range(50_000):
        deep = [deep]
    letter = judge({"id": "b", "page": 1, column: deep}, b"as it came", STEP, NOW)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.original) == (reason, b"as it came")
    assert "nested too deeply" in letter.message


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_row_that_is_nothing_but_deep_is_rejected(depth: int) -> None:
    (letter,) = between(nested(depth)).rejected
    assert letter.reason == "wrong_type"


@pytest.mark.parametrize("depth", DEPTHS)
def test_what_is_not_kept_may_be_as_deep_as_it_likes(depth: int) -> None:
    rows = between(b'{"id": "b", "page": 1, "rows": %b}' % nested(depth))
    assert [page.id for page in rows.pages] == ["a", "b", "c"]
    body = response(*NEIGHBOURS)[:-1] + b', "extra": %b}' % nested(depth)
    assert len(decode_rows(body, STEP, NOW).pages) == 2


def test_a_row_without_fault_that_is_too_large_for_a_message_is_rejected_alone() -> None:
    control_characters = b"\\u0001" * (MAX_PAGE_BYTES // 6)
    rows = between(b'{"id": "b", "page": 1, "text": "%b"}' % control_characters)
    assert [page.id for page in rows.pages] == ["a", "c"]
    assert [letter.reason for letter in rows.rejected] == ["too_large"]


def test_a_bom_before_the_body_goes() -> None:
    rows = decode_rows(b"\xef\xbb\xbf" + response(*NEIGHBOURS), STEP, NOW)
    assert [page.sanitised for page in rows.pages] == [(), ()]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html><body>Sorry</body></html>",
        b"[]",
        b"null",
        b'"rows"',
        b"{}",
        b'{"ok": false, "error": "no"}',
        b'{"rows": []}',
        b'{"next": null}',
        b'{"rows": {}, "next": null}',
        b'{"rows": null, "next": null}',
        b'{"rows": "[]", "next": null}',
        b'{"rows": [] "next": null}',
        b'{"rows": [{"id": "a", "page": 1}, ], "next": null}',
        b'{"rows": [{"id": "a", "page": 1} {"id": "b", "page": 1}], "next": null}',
        b'{"rows": [], "next": null',
        b'{"rows": [], "next": null}}',
        b'{"rows": [], "next": null} and more',
        b'{"rows": [], "next": null,}',
        b'{,"rows": [], "next": null}',
        b"{rows: [], next: null}",
        b"\x1f\x8b\x08\x00 compressed twice",
        "{}".encode("utf-16"),
        response(*NEIGHBOURS)[:-9],
        response(*NEIGHBOURS, following=b'""'),
        response(*NEIGHBOURS, following=b"7"),
        response(*NEIGHBOURS, following=b"[]"),
        response(*NEIGHBOURS, following=b"false"),
        response(*NEIGHBOURS, following=b'"%b"' % (b"a" * 60_001)),
        response(*NEIGHBOURS, following=b'"a\\ud800"'),
        response(*NEIGHBOURS, following=b'"a\\n"'),
        response(*NEIGHBOURS, following='"ü"'.encode()),
        response(b'{"id": "a", "page": 1, "x": %b}' % (b"[" * 100_000)),
        response(b'{"id": "a", "page": 1, "x": %b "}' % (b"[" * 100_000)),
        b'{[]: 1, "rows": [], "next": null}',
        b'{%b%b: 1, "rows": [], "next": null}' % (b"[" * 100_000, b"]" * 100_000),
    ],
)
def test_a_response_without_its_shape_is_broken(body: bytes) -> None:
    error = unbelievable(body)
    assert error.received == body.decode(errors="replace").replace("\0", "\ufffd")[:200]


@pytest.mark.parametrize("token", ["0a,0a", "~2F~7E", "a" * 60_000, "%41+ b"])
def test_next_is_kept_as_it_came(token: str) -> None:
    body = response(*NEIGHBOURS, following=json.dumps(token).encode())
    assert decode_rows(body, STEP, NOW).next == token
    assert decode_ids(body)[2] == token


def test_a_listing_holds_the_usable_ids() -> None:
    values = [{"id": "a"}, {"id": None}, {"id": 7}, 7, {}, {"id": ""}, {"id": "b", "more": 1}]
    body = response(*[json.dumps(value).encode() for value in values])
    assert decode_ids(body) == (("a", "b"), 7, None)


any_text = st.text(st.characters(exclude_categories=()), max_size=20)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)
columns = ("id", "meeting", "date", "page", "text", "page_image", "entities_json", "votes_json")
rows_of_any_json = st.fixed_dictionaries({}, optional=dict.fromkeys(columns, any_json))
nearly_good_rows = st.builds(
    lambda good, column, value: {**good, column: value},
    st.fixed_dictionaries({"id": st.just("b"), "page": st.just(1), "text": any_text}),
    st.sampled_from(columns),
    any_json,
)


@settings(max_examples=300, deadline=None)
@given(value=rows_of_any_json | nearly_good_rows | any_json, escaped=st.booleans())
@example(value={"id": "b", "page": 10**4000, "date": 10**400}, escaped=True)
@example(value={"id": "b\0", "page": 1}, escaped=True)
@example(value={"id": "\ud800", "page": 1}, escaped=False)
@example(value={"id": "b", "page": 1, "date": {"\ud800": math.nan}}, escaped=False)
def test_any_row_is_a_page_or_a_dead_letter(value: object, escaped: bool) -> None:  # noqa: FBT001 - drawn
    original = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    rows = between(original)
    assert len(rows.pages) + len(rows.rejected) == 3
    assert [rows.pages[0].id, rows.pages[-1].id] == ["a", "c"]
    for page in rows.pages:
        assert_storable(page)
    for letter in rows.rejected:
        assert letter.original == original
        assert codec.decode(codec.type_header(DeadLetter), codec.encode(letter)) == letter


def assert_storable(page: Page) -> None:
    fields = (
        page.id,
        page.meeting,
        page.date,
        str(page.page),
        page.text,
        page.page_image,
        page.entities,
        page.votes,
    )
    for field in fields:
        assert field is None or "\0" not in field
        assert field is None or field.encode().decode() == field
        assert field is None or field is page.id or "\ufeff" not in field
    assert page.row_hash == row_hash(fields)
    assert 0 <= page.page < 2**31
    assert codec.decode(codec.type_header(Page), codec.encode(page)) == page


@given(value=nearly_good_rows)
def test_both_ways_of_reading_agree(value: dict[str, object]) -> None:
    original = json.dumps(value).encode()
    slowly = judge(json.loads(original), original, STEP, NOW)
    rows = decode_rows(response(original), STEP, NOW)
    assert (*rows.pages, *rows.rejected) == (slowly,)


def test_one_clean_response_is_read_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "judge", None)
    assert len(decode_rows(response(*NEIGHBOURS), STEP, NOW).pages) == 2
    with pytest.raises(TypeError):
        between(DAMAGED["NUL"])
