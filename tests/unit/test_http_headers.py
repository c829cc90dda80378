"""What a source's headers mean: when it wants to be asked again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fix_http import get
from fix_scripted_source import Scripted, answer
from hypothesis import given
from hypothesis import strategies as st

from runtime.headers import LONGEST_RETRY_AFTER, retry_after

SENT = "Sun, 22 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("61", 61),
        (" 61 ", 61),
        ("86401", LONGEST_RETRY_AFTER),
        ("9" * 500, LONGEST_RETRY_AFTER),
        ("Sun, 22 Nov 2026 10:01:30 GMT", 90),
        ("Sunday, 22-Nov-26 10:01:30 GMT", 90),
        ("Sun Nov 22 10:01:30 2026", 90),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
        ("Sun, 22 Nov 2099 10:00:00 GMT", LONGEST_RETRY_AFTER),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("NaN", None),
        ("Sun, 99 Nov 2026 10:00:00 GMT", None),
        ("Sun, 22 Nov 99999999999 10:00:00 GMT", None),
    ],
)
def test_retry_after_has_two_forms(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value, "date": SENT}) == seconds


def test_a_date_counts_from_now_where_the_source_tells_no_time() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    for headers in ({}, {"date": "today"}):
        assert 590 < (retry_after({"retry-after": until, **headers}) or 0) <= 600


def test_no_header_says_nothing() -> None:
    assert retry_after({}) is None


@given(st.text(), st.text())
def test_nothing_breaks_it(value: str, date: str) -> None:
    seconds = retry_after({"retry-after": value, "date": date})
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER


@pytest.mark.parametrize("status", [200, 402, 429, 503])
def test_is_received_with_every_status(scripted: Scripted, status: int) -> None:
    source = scripted.start(answer("{}", status=status, headers={"Retry-After": 7}))
    assert get(source_url=source.source_url).retry_after == 7
    source.script(answer("{}", status=status))
    assert get(source_url=source.source_url).retry_after is None
