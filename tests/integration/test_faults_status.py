"""Sites that refuse: what each status makes of a walk, and how a walk waits that asks too often."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

import pytest
from fault_source import (
    Act,
    Plot,
    anything,
    giving,
    larger_than,
    nth,
    page_of_html,
    pages,
    refusing,
)
from fix_faults import MINUTES, ROWS, TRIES, FaultRig, failure_of
from fix_scripted_source import Scripted, answer, redirect, rows
from fix_source import SourceFarm, SourceSite, make_pages

from schemas.events import VerdictGiven, WalkFailed

TOO_MANY: Final = refusing(402, {"error": "rate_limit_exceeded", "message": "15 a minute"})
MINUTE: Final = 61.0
QUARTER: Final = 900.0


@dataclass(frozen=True)
class Refusal:
    """A status for good: what is sent, and how a walk fails that meets it."""

    act: Act
    reason: str
    tries: int
    says: str


REFUSALS: Final = {
    "26-402-too-long": Refusal(
        refusing(402, {"error": "query_too_long"}), "refused", 1, "it does not let us read"
    ),
    "26-401": Refusal(refusing(401, {"error": "who are you"}), "refused", 1, "answered 401"),
    "26-403": Refusal(
        refusing(403, {"ok": False, "error": "Permission denied"}), "refused", 1, "answered 403"
    ),
    "26-404-json": Refusal(
        refusing(404, {"ok": False, "error": "Database not found", "status": 404}),
        "broken_response",
        TRIES,
        "answered 404",
    ),
    "26-404-html": Refusal(page_of_html(404), "broken_response", TRIES, "answered 404"),
    "26-302": Refusal(giving(redirect("/")), "no_such_site", 1, "it knows no such site"),
    "27-502": Refusal(page_of_html(502), "server_error", TRIES, "answered 502"),
    "27-503": Refusal(page_of_html(503), "server_error", TRIES, "answered 503"),
    "27-504": Refusal(giving(answer(status=504)), "server_error", TRIES, "answered 504"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_status_fails_the_walk_which_a_retry_goes_on_with(
    fault_rig: FaultRig, quiet_site: SourceSite, refusal: Refusal
) -> None:
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(nth(3), refusal.act)
    if refusal.tries > 1:
        plot.trouble(nth(2), refusal.act, times=1)
    fault_rig.begin_walk(table)

    state = fault_rig.fails(table)
    expected = quiet_site.rows("minutes")
    walked = fault_rig.walked(table)
    failed = failure_of(walked)
    assert (failed.reason, failed.attempt) == (refusal.reason, refusal.tries - 1)
    assert refusal.says in failed.error
    assert state.retries == (TRIES if refusal.tries > 1 else 0)
    assert walked.ids == [row["id"] for row in expected[: 2 * ROWS]]
    assert (walked.barriers, walked.letters, walked.tombstones) == ([], [], 0)
    assert plot.count(nth(3)) == refusal.tries

    plot.heal()
    fault_rig.retry(table)
    fault_rig.assert_whole(table, expected)
    asked_again = [plot.count(nth(1)), plot.count(nth(2)), plot.count(nth(3))]
    assert asked_again == [1, 2 if refusal.tries > 1 else 1, refusal.tries + 1]


def test_a_redirect_is_never_followed(
    fault_rig: FaultRig, quiet_site: SourceSite, scripted: Scripted
) -> None:
    elsewhere = scripted.start(rows([]))
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(anything, giving(redirect(f"http://{elsewhere.address}/meetings/minutes.json")))
    fault_rig.begin_walk(table)
    assert "it knows no such site" in (fault_rig.fails(table).error or "")
    assert (len(plot.requests), elsewhere.asked) == (1, [])


def test_a_table_that_a_site_never_had_is_absent(
    fault_rig: FaultRig, source_farm: SourceFarm
) -> None:
    """Row 26-404-absent: only Datasette's own word on the table, and only at the first step."""
    site = source_farm.shared(
        version="1.0",
        minutes=make_pages("minutes", 20),
        change=lambda connection: connection.execute("DROP TABLE agendas"),
    )
    table, plot = fault_rig.plot(site, "agenda")
    fault_rig.begin_walk(table)
    state = fault_rig.reaches(table, "completed", "failed", "unverified")
    assert (state.status, state.verdict, state.error) == ("completed", "absent", None)
    walked = fault_rig.walked(table)
    (verdict,) = walked.of(VerdictGiven)
    assert verdict.verdict.outcome == "absent"
    assert (walked.ids, walked.of(WalkFailed), len(plot.requests)) == ([], [], 1)


def test_a_page_for_people_is_no_word_on_a_table(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """The control arm of what is absent: a 404 of a front end, at the first step."""
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(anything, page_of_html(404))
    fault_rig.begin_walk(table)
    assert fault_rig.fails(table).verdict is None
    assert len(plot.requests) == TRIES


def test_an_interrupted_query_asks_for_half_as_many_rows(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 27-500-interrupted: no try is counted, whatever the size it takes."""
    table, plot = fault_rig.plot(quiet_site)
    interrupted = {"ok": False, "error": "SQL query took too long", "title": "SQL Interrupted"}
    plot.trouble(larger_than(ROWS), refusing(500, interrupted))
    fault_rig.begin_walk(table, rows=4 * ROWS)
    state = fault_rig.ends(table)
    assert (state.attempt, state.rows, state.size) == (0, 4 * ROWS, ROWS)
    fault_rig.assert_whole(table, quiet_site.rows("minutes"))
    sizes = [int(r.asked.query["_size"]) for r in plot.requests if pages(r)]
    assert sizes == [200, 100, 50, 50, 50]


def waits(plot: Plot) -> list[float]:
    """Return how long the source was left alone after each request that came to grief."""
    at = [request.at for request in plot.requests]
    grief = [n for n, request in enumerate(plot.requests) if request.troubled]
    return [at[n + 1] - at[n] for n in grief if n + 1 < len(at)]


RETRY_AFTERS: Final = {
    "27-429": (None, MINUTE),
    "27-429-seconds": ("120", 120.0),
    "27-429-short": ("5", MINUTE),
    "27-429-date": ("date", 118.0),
    "25-402-once": (None, MINUTE),
}


@pytest.mark.parametrize(("named", "expected"), RETRY_AFTERS.items(), ids=RETRY_AFTERS)
def test_who_asked_too_often_waits_and_has_failed_at_nothing(
    fault_rig: FaultRig, quiet_site: SourceSite, named: str, expected: tuple[str | None, float]
) -> None:
    value, seconds = expected
    if value == "date":
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)
    headers = {} if value is None else {"Retry-After": value}
    status = 402 if "402" in named else 429
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(nth(2), refusing(status, {"error": "rate_limit_exceeded"}, headers), times=1)
    with fault_rig.time.hurried(200):
        fault_rig.begin_walk(table)
        state = fault_rig.ends(table)
    assert (state.retries, state.attempt) == (0, 0)
    fault_rig.assert_whole(table, quiet_site.rows("minutes"))
    (waited,) = waits(plot)
    assert waited >= seconds


def test_ten_minutes_of_too_many_requests_hold_back_every_site_and_fail_none(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 25-402-ten-minutes: it is asked three times within them, and then after them.

    Both tables are of one base domain: what the site of the one says, the other heeds.
    """
    one, refused = fault_rig.plot(quiet_site, apart="ten minutes")
    other, heeding = fault_rig.plot(quiet_site, apart="ten minutes")
    refused.trouble(nth(2), TOO_MANY, times=3)
    with fault_rig.time.hurried(200):
        fault_rig.begin_walk(one)
        fault_rig.wait_for(one, lambda state: state.refusals == 3)
        fault_rig.begin_walk(other)
        fault_rig.time.set_speed(1000)
        assert [fault_rig.ends(table).retries for table in (one, other)] == [0, 0]
    for table in (one, other):
        fault_rig.assert_whole(table, quiet_site.rows("minutes"))
    first, second, third, after = (request.at for request in refused.requests if nth(2)(request))
    assert second - first >= MINUTE
    assert third - second >= MINUTE
    assert after - third >= QUARTER
    assert heeding.requests[0].at - third >= QUARTER


def test_for_ever_too_many_requests_are_asked_about_every_quarter_of_an_hour(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 25-402-for-ever: no number of refusals fails a walk."""
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(nth(2), TOO_MANY)
    with fault_rig.time.hurried(1000):
        fault_rig.begin_walk(table)
        state = fault_rig.wait_for(table, lambda state: state.refusals == 5)
        assert (state.status, state.attempt, state.retries) == ("in_progress", 0, 0)
        assert "too many requests" in (state.error or "")
        plot.heal()
        assert fault_rig.ends(table).refusals == 0
    fault_rig.assert_whole(table, quiet_site.rows("minutes"))
    waited = waits(plot)
    assert [seconds >= QUARTER for seconds in waited] == [False, False, True, True, True]
    assert all(seconds >= MINUTE for seconds in waited)


def test_time_that_is_not_hurried_has_not_passed(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """The control arm: it is the clock alone that lets a minute pass in a moment."""
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(nth(2), TOO_MANY, times=1)
    fault_rig.begin_walk(table)
    fault_rig.wait_for(table, lambda state: state.refusals == 1)
    state = fault_rig.state(table)
    assert state is not None
    assert (state.status, state.steps, len(plot.requests)) == ("in_progress", 1, 2)
    assert state.retry_at is not None
    with fault_rig.time.hurried(200):
        assert fault_rig.ends(table).pages == MINUTES
