"""Rate, share done and time left of a walk, from its state alone."""

import hashlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagestream.progress import (
    Outlook,
    RateMeter,
    expected_rows,
    outlook,
    place_among_ids,
    rows_walked,
    together,
    work_done,
)
from schemas.walks import Position, WalkState


def walking(pages: int, after: str | None, **fields: object) -> WalkState:
    position = Position(phase="pages", cursor=after, after=after)
    return WalkState(site="a.ca", kind="minutes", steps=3, pages=pages, position=position, **fields)  # type: ignore[arg-type]  # the fields of a state


def listing(pages: int, listed: int, listed_by: Any = "sql") -> WalkState:
    position = Position(phase="listing", listed_by=listed_by)
    return WalkState(
        site="a.ca", kind="minutes", steps=9, pages=pages, listed=listed, position=position
    )


def test_there_is_no_rate_before_there_is_a_span() -> None:
    meter = RateMeter()
    assert meter.per_second() is None
    meter.add(100.0, 0)
    assert meter.per_second() is None
    meter.add(100.1, 500)
    assert meter.per_second() is None


def test_the_rate_is_that_of_the_last_seconds() -> None:
    meter = RateMeter()
    for second in range(60):
        meter.add(float(second), 1000 * min(second, 30))
    assert meter.per_second() == 0
    meter.add(60.0, 30_000 + 1_500)
    assert meter.per_second() == pytest.approx(100)


@pytest.mark.parametrize(
    ("identity", "place"),
    [("000000000000", 0.0), ("800000000000", 0.5), ("8", 0.5), ("ffffffffffff", 1 - 16**-12)],
)
def test_a_hex_id_has_a_place(identity: str, place: float) -> None:
    assert place_among_ids(identity) == place


@pytest.mark.parametrize(
    "identity", ["", "page-17", "ABC", "12 ", "-1", "0x10", "\N{FULLWIDTH DIGIT ONE}"]
)
def test_any_other_id_has_none(identity: str) -> None:
    assert place_among_ids(identity) is None


@given(st.lists(st.binary(min_size=6, max_size=6), min_size=2))
def test_places_rise_with_the_ids(numbers: list[bytes]) -> None:
    places = [place_among_ids(number.hex()) for number in sorted(numbers)]
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(places))


def test_hashed_ids_tell_the_share_that_is_done() -> None:
    ids = sorted(hashlib.sha256(bytes([n % 256, n // 256])).hexdigest()[:12] for n in range(5000))
    state = walking(2000, ids[1999])
    assert expected_rows(state) == pytest.approx(5000, rel=0.05)
    share, pages, seconds = outlook(state, work_per_second=1000)
    assert share == pytest.approx(0.4 / 1.02, abs=0.02)
    assert pages == expected_rows(state)
    assert seconds == pytest.approx(3.1, rel=0.1)


def test_what_was_walked_before_is_the_better_guess() -> None:
    state = walking(2000, "4")
    assert expected_rows(state) == 8000
    assert expected_rows(state, walked_before=5000) == 5000


def test_a_table_that_has_grown_is_guessed_by_its_ids() -> None:
    assert expected_rows(walking(2000, "4"), walked_before=1500) == 8000


def test_other_ids_are_unknown_not_guessed() -> None:
    assert outlook(walking(2000, "page-17"), work_per_second=1000) == (None, None, None)


def test_the_first_ids_say_nothing_yet() -> None:
    assert expected_rows(walking(1, "000100000000")) is None


def test_a_walk_that_has_begun_is_at_nought() -> None:
    begun = WalkState(site="a.ca", kind="minutes", position=Position(phase="pages"))
    assert outlook(begun) == (0.0, None, None)


def test_listing_by_sql_is_a_fiftieth_of_the_work() -> None:
    assert outlook(listing(1000, 0)).share == pytest.approx(1000 / 1020)
    share, rows, seconds = outlook(listing(1000, 500), work_per_second=10)
    assert (share, rows, seconds) == (pytest.approx(1010 / 1020), 1000, pytest.approx(1.0))


def test_listing_by_paging_is_the_second_half() -> None:
    share, rows, seconds = outlook(listing(1000, 400, "paging"), work_per_second=100)
    assert (share, rows, seconds) == (0.7, 1000, 6.0)


def test_more_ids_than_pages_are_not_more_than_all() -> None:
    assert outlook(listing(1000, 1200, "paging"), work_per_second=100) == (1.0, 1000, 0.0)


def verifying(listed: int, after: str | None, **fields: Any) -> WalkState:
    position = Position(phase="listing", after=after, listed_by="sql")
    return WalkState(
        site="a.ca", kind="minutes", mode="verify", steps=1, listed=listed, position=position,
        **fields,
    )  # fmt: skip


def test_a_verify_walk_is_measured_by_its_ids() -> None:
    assert outlook(verifying(50_000, "4"))[:2] == (0.25, 200_000)
    assert outlook(verifying(50_000, "x"), walked_before=100_000)[:2] == (0.5, 100_000)
    assert outlook(verifying(0, None)).share is None


def ended(mode: Any, **fields: Any) -> WalkState:
    given = {"status": "unverified", "pages": 90, "rejected": 10, "listed": 100} | fields
    return WalkState(site="a.ca", kind="minutes", walk=1, mode=mode, **given)


@pytest.mark.parametrize(
    ("before", "now", "rows"),
    [
        ("full", "full", 100),
        ("full", "verify", 100),
        ("full", "incremental", None),
        ("verify", "full", 7),
        ("incremental", "full", None),
        ("incremental", "incremental", 100),
    ],
)
def test_only_a_walk_over_the_same_rows_says_how_many_there_are(
    before: Any, now: Any, rows: int | None
) -> None:
    state = ended(before, listed=7) if before == "verify" else ended(before)
    assert rows_walked(state, now) == rows


@pytest.mark.parametrize("status", ["failed", "cancelled", "paused", "pending", "removed"])
def test_a_walk_that_did_not_come_to_its_end_says_nothing(status: Any) -> None:
    assert rows_walked(ended("full", status=status), "full") is None


def test_walks_are_added_up_by_their_rows() -> None:
    walks = [Outlook(1.0, 100, 0.0), Outlook(0.0, 300, None)]
    assert together(walks, 10) == (0.25, 400, 30.0)
    assert together([*walks, Outlook(None, None, None)], 10) == (None, None, None)
    assert together([], 10) == (None, None, None)


def test_a_count_that_begins_anew_is_no_speed_backwards() -> None:
    meter = RateMeter()
    meter.add(0.0, 100)
    meter.add(5.0, 10)
    assert meter.per_second() == 0


def test_a_walk_of_nothing_is_done_when_its_pages_are() -> None:
    assert outlook(listing(0, 0)).share == 1.0


def test_a_walk_that_is_over_is_done() -> None:
    over = WalkState(site="a.ca", kind="minutes", status="unverified", pages=7, rejected=2)
    assert outlook(over) == (1.0, 9, 0.0)


def test_rejected_rows_were_asked_for_too() -> None:
    assert work_done(walking(10, "8", rejected=3)) == 13
    assert work_done(walking(10, "8", rejected=3, listed=50)) == 14
