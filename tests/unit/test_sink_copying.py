"""COPY's text format, written by hand: every text comes back, and one line is one row."""

from hypothesis import given
from hypothesis import strategies as st
from samples import page

from consumers.projections.copying import PAGE_COLUMNS, field, page_line

ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}


def unescape(text: str) -> str:
    out, position = [], 0
    while position < len(text):
        pair = text[position : position + 2]
        out.append(ESCAPES.get(pair, text[position]))
        position += 2 if pair in ESCAPES else 1
    return "".join(out)


@given(st.text(st.characters(codec="utf-8")))
def test_a_text_comes_back(text: str) -> None:
    escaped = field(text).decode()

    assert unescape(escaped) == text
    assert not set(escaped) & {"\t", "\n", "\r"}
    assert escaped not in ("\\N", "\\.")


def test_null_is_no_text() -> None:
    assert field(None) == b"\\N"
    assert field("\\N") == b"\\\\N"


@given(st.text().filter(lambda text: text.isprintable() or "\n" in text))
def test_a_page_is_one_line_with_all_columns(text: str) -> None:
    line = page_line(page("a", text=text, sanitised=("text", "votes")), -1, 2).decode()

    fields = line.removesuffix("\n").split("\t")
    assert len(fields) == len(PAGE_COLUMNS.split(","))
    assert unescape(fields[7]) == text
    assert fields[:2] == ["-1", "2"]
    assert fields[-1] == "{text,votes}"
