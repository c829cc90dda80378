"""Spans of time as a person writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.durations import LONGEST_SECONDS, parse_every, write_every


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90d", 90 * 86_400),
        ("12h", 43_200),
        ("30m", 1_800),
        ("45s", 45),
        ("2w", 1_209_600),
        ("1.5 h", 5_400),
        ("3600", 3_600),
        ("never", None),
    ],
)
def test_reads_what_a_person_writes(text: str, seconds: float | None) -> None:
    assert parse_every(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0d", "-1d", "1y", "d", "1d2h", "nan", "inf", "1e9", "٣d", "99999w", " 1d"]
)
def test_refuses_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match=r"span of time|ten years"):
        parse_every(text)


@given(st.integers(1, int(LONGEST_SECONDS)))
def test_what_is_written_reads_as_the_same(seconds: int) -> None:
    assert parse_every(write_every(seconds)) == seconds


def test_writes_the_shortest() -> None:
    assert [write_every(s) for s in (None, 0.5, 90.0, 3_600.0, 86_400.0, 7 * 86_400.0)] == [
        "never",
        "0.5s",
        "90s",
        "1h",
        "1d",
        "1w",
    ]
