"""What a backfill will cost: from what is known, and from nothing else."""

from typing import Any

import pytest

from pagestream.planning import Pace, Size, plan, sizes_known, unknown_tables
from schemas.tables import Table
from schemas.walks import Position, WalkState

MINUTES, AGENDA = Table("a.ca", "minutes"), Table("a.ca", "agenda")
FREE = Pace(per_minute=None, limits_all=False, rows=1000, capped_rows=None)
LIMITED = Pace(per_minute=14.0, limits_all=False, rows=1000, capped_rows=None)


def walked(**fields: Any) -> WalkState:
    given = {"walk": 4, "status": "unverified", "pages": 900, "rejected": 3, "listed": 902}
    return WalkState(**{"site": "a.ca", "kind": "minutes"} | given | fields)


def sizes(*states: WalkState, claim: int | None = None) -> list[Size]:
    claims = {} if claim is None else {"a.ca": claim}
    found = sizes_known(["a.ca"], {state.table: state for state in states}, claims)
    return [found[AGENDA], found[MINUTES]]


def test_the_last_walk_over_the_whole_table_says_most() -> None:
    assert sizes(walked(), claim=5000)[1] == Size(903, "walk")
    assert sizes(walked(mode="verify"), claim=5000)[1] == Size(902, "walk")


def test_a_walk_under_way_tells_by_its_ids() -> None:
    going = walked(status="in_progress", position=Position(phase="pages", after="8"), rejected=0)
    assert sizes(going)[1] == Size(1800, "walk")


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "incremental"},
        {"status": "cancelled"},
        {"status": "removed"},
        {"status": "pending", "walk": 0},
    ],
    ids=str,
)
def test_a_walk_over_less_says_nothing(fields: dict[str, Any]) -> None:
    assert sizes(walked(**fields))[1].origin == "unknown"
    assert sizes(walked(**fields), claim=10) == [Size(5, "claim"), Size(5, "claim")]


def test_a_claim_is_for_both_tables_less_what_is_known_better() -> None:
    assert sizes(walked(), claim=1000) == [Size(97, "claim"), Size(903, "walk")]
    assert sizes(walked(), claim=10) == [Size(0, "claim"), Size(903, "walk")]
    assert sum(one.pages or 0 for one in sizes(claim=7)) == 8


def test_only_what_nobody_has_said_is_asked_of_the_site() -> None:
    found = sizes_known(["a.ca"], {MINUTES: walked()}, {})
    assert unknown_tables(found, [AGENDA, MINUTES]) == [AGENDA]
    assert unknown_tables(found, [MINUTES]) == []


@pytest.mark.parametrize(
    ("pages", "rows", "requests"),
    [
        (0, 1000, 2),
        (1, 1000, 2),
        (1000, 1000, 2),
        (1001, 1000, 3),
        (60_000, 1000, 62),
        (500, 1, 510),
    ],
)
def test_requests_are_pages_by_rows_and_then_the_listing(
    pages: int, rows: int, requests: int
) -> None:
    pace = Pace(per_minute=None, limits_all=False, rows=rows, capped_rows=None)
    found = plan({MINUTES: Size(pages, "walk")}, {}, pace)
    assert found.requests == requests
    assert found.hours is None


def test_the_hours_are_those_of_the_rate_over_all_sites() -> None:
    found = plan({MINUTES: Size(838_000, "walk"), AGENDA: Size(0, "source")}, {}, LIMITED)
    assert found.requests == 838 + 17 + 2
    assert found.hours == pytest.approx(857 / 14 / 60)


def test_requests_with_a_secret_of_their_own_need_no_turn_unless_the_setting_says_so() -> None:
    tables = {MINUTES: Size(838_000, "walk"), AGENDA: Size(0, "source")}
    found = plan(tables, {MINUTES: "mine"}, LIMITED)
    assert found.hours == pytest.approx(2 / 14 / 60)
    everybody = Pace(per_minute=14.0, limits_all=True, rows=1000, capped_rows=None)
    assert plan(tables, {MINUTES: "mine"}, everybody).hours == pytest.approx(857 / 14 / 60)


def test_who_has_no_secret_gets_fewer_rows() -> None:
    capped = Pace(per_minute=14.0, limits_all=False, rows=1000, capped_rows=100)
    tables = {MINUTES: Size(10_000, "claim")}
    assert plan(tables, {}, capped).requests == 101
    assert plan(tables, {MINUTES: "mine"}, capped).requests == 11


def test_what_is_unknown_is_in_no_sum_and_is_counted() -> None:
    found = plan({MINUTES: Size(1000, "walk"), AGENDA: Size(None, "unknown", "why")}, {}, FREE)
    assert (found.unknown, found.pages, found.requests) == (1, 1000, 2)
    unknown = found.tables[1]
    assert (unknown.pages, unknown.requests, unknown.database_bytes) == (None, None, None)
    assert unknown.remark == "why"
    assert found.database_bytes > 1_000_000
    assert found.topic_bytes > 100_000
