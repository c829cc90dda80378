"""The date beside the source's text: only what is exactly a real ISO date."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.projections.meeting_dates import meeting_date


@pytest.mark.parametrize("text", ["2024-02-29", "0001-01-01", "9999-12-31"])
def test_a_real_date_is_one(text: str) -> None:
    assert str(meeting_date(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "today",
        "now",
        "infinity",
        "2024-02-30",
        "2023-02-29",
        "0000-01-01",
        "20240229",
        "2024-W09-4",
        "2024-2-29",
        " 2024-02-29",
        "2024-02-29\n",
        "2024-02-29T00:00:00",
        "٢٠٢٤-٠٢-٢٩",
    ],
)
def test_anything_else_is_none(text: str | None) -> None:
    assert meeting_date(text) is None


@given(st.dates())
def test_every_date_comes_back(day: date) -> None:
    assert meeting_date(day.isoformat()) == day


@given(st.text())
def test_what_is_taken_is_the_text_itself(text: str) -> None:
    assert str(meeting_date(text) or text) == text
