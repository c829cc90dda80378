"""Walks steered from the command line: singly, by status, all at once; while requests hang."""

import json
import time
from typing import Any, Final

import pytest
from fix_scripted_source import Answer, Asked, Scripted, ScriptedSource, answer, hang, rows
from fix_source import make_page
from fix_terminal import CommandLine, finished, wait_for

SITES: Final = [f"city{number}.ca" for number in range(5)]
PAGES: Final = 8
ROWS: Final = 2
NO_TABLE: Final = answer(
    json.dumps({"ok": False, "error": "Table not found", "status": 404}), status=404
)
NO_SQL: Final = answer(json.dumps({"ok": False, "error": "Permission denied"}), status=403)
NOT_LET: Final = answer(json.dumps({"ok": False, "error": "Permission denied"}), status=401)


class Cities:
    """Sites of eight minutes and no agendas; in trouble, each answers its first request alone."""

    def __init__(self) -> None:
        self.trouble: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []
        """Each request of pages: the site, and the cursor."""

    def __call__(self, asked: Asked) -> Answer:
        site = asked.headers["Host"].partition(".localhost")[0]
        if not asked.path.endswith("minutes.json"):
            return NO_TABLE if asked.path.endswith("agendas.json") else NO_SQL
        cursor = int(asked.query.get("_next", "0"))
        if "_col" not in asked.query:
            self.asked.append((site, str(cursor)))
        if cursor and site in self.trouble:
            return self.trouble[site]
        end = min(cursor + int(asked.query["_size"]), PAGES)
        found = [
            make_page("minutes", "Council", "2026-01-05", number, "", id=f"{number:012x}")
            for number in range(cursor, end)
        ]
        return rows(found, str(end) if end < PAGES else None)


@pytest.fixture
def cities() -> Cities:
    return Cities()


@pytest.fixture
def source(scripted: Scripted, cities: Cities) -> ScriptedSource:
    return scripted.choosing(cities)


@pytest.fixture
def line(prepared: CommandLine, source: ScriptedSource) -> CommandLine:
    """The command line beside a walker and a sink, with five sites known."""
    at_source = {"source_url": source.source_url, "source_connect": source.address}
    prepared.environment |= {f"PAGESTREAM_{k.upper()}": v for k, v in at_source.items()}
    prepared.environment["PAGESTREAM_ROWS_PER_RESPONSE"] = str(ROWS)
    prepared.start("run", "walker", log_level="error")
    prepared.start("run", "sink", log_level="error")
    for adding in [prepared.start("sites", "add", site) for site in SITES]:
        assert finished(adding).code == 0
    return prepared


def minutes(line: CommandLine) -> dict[str, Any]:
    """Return the states of the sites' minutes, by site."""
    states = line.ok("walks", "--json").json
    return {state["site"]: state for state in states if state["kind"] == "minutes"}


def statuses(line: CommandLine) -> set[str]:
    return {state["status"] for state in minutes(line).values()}


def answers(line: CommandLine, *words: str, code: int = 0) -> dict[str, str]:
    """Run a command about walks, and return what was answered for each table."""
    done = line.run("walks", *words, "--json")
    assert done.code == code, done
    return {f"{one['site']}/{one['kind']}": one["answer"] for one in done.json}


def pages_asked(cities: Cities, site: str) -> list[str]:
    return [cursor for asked, cursor in cities.asked if asked == site]


def stored(line: CommandLine) -> int:
    return int(line.ask("SELECT count(*) FROM pagestream.meeting_page")[0][0])


def test_a_walk_is_paused_at_once_although_its_request_hangs(
    line: CommandLine, cities: Cities
) -> None:
    site = SITES[0]
    cities.trouble[site] = hang()
    line.ok("backfill", "--subdomain", site, "--document-type", "minutes", "--no-wait")
    wait_for(lambda: len(pages_asked(cities, site)) == 2)

    began = time.monotonic()
    assert answers(line, "pause", site) == {f"{site}/minutes": "done"}
    assert time.monotonic() - began < 10, "the request would have hung for 30 s"
    assert minutes(line)[site]["status"] == "paused"
    assert answers(line, "pause", site) == {f"{site}/minutes": "done"}
    assert "already paused" in line.ok("walks", "pause", f"{site}/minutes").out

    waiting = line.ok("walks", "start", f"{site}/minutes", "--mode", "verify")
    assert "waits as the follow-up of walk 1" in waiting.out
    assert answers(line, "cancel", site) == {f"{site}/minutes": "done"}
    assert minutes(line)[site]["status"] == "cancelled"
    refused = line.run("walks", "resume", f"{site}/minutes")
    assert refused.code == 1
    assert "only a paused walk can be resumed" in refused.out
    assert len(refused.err.splitlines()) == 1


def test_a_paused_walk_goes_on_exactly_where_it_stands(line: CommandLine, cities: Cities) -> None:
    site = SITES[0]
    cities.trouble[site] = hang()
    line.ok("backfill", "--subdomain", site, "--document-type", "minutes", "--no-wait")
    wait_for(lambda: len(pages_asked(cities, site)) == 2)
    line.ok("walks", "pause", site)
    cities.trouble.clear()
    following = ("backfill", "--subdomain", site, "--document-type", "minutes", "--resume")
    (walk,) = line.ok(*following, "--json").json
    assert (walk["walk"], walk["pages"], walk["created"]) == (1, PAGES, PAGES)
    assert (walk["expected"], walk["actual"], walk["errors"]) == (PAGES, PAGES, 0)
    assert pages_asked(cities, site).count("0") == 1
    (again,) = line.ok(*following, "--json").json
    assert (again["walk"], again["unchanged"]) == (2, PAGES)


def test_many_walks_fail_and_are_tried_again_by_their_status(
    line: CommandLine, cities: Cities
) -> None:
    cities.trouble = dict.fromkeys(SITES[:3], NOT_LET)
    everything = ("backfill", "--subdomain", "all")
    done = line.run(*everything)
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert "minutes ended as failed: the source answered 401" in last
    assert "(and 2 more)" in last
    assert "backfill --resume" in last
    shown = line.ok("walks", "--status", "failed", "--status", "paused", "--json").json
    assert [(state["site"], state["kind"]) for state in shown] == [
        (site, "minutes") for site in SITES[:3]
    ]
    assert all(state["error"] for state in shown)
    assert "401" in line.ok("walks", "--status", "failed").out

    # Of agendas, which no site has, nothing failed: they are absent.
    assert {s["verdict"] for s in line.ok("walks", "--json").json if s["kind"] == "agenda"} == {
        "absent"
    }
    del cities.trouble[SITES[0]]
    assert answers(line, "retry", "--status", "failed") == {
        f"{site}/minutes": "done" for site in SITES[:3]
    }
    wait_for(lambda: minutes(line)[SITES[0]]["status"] == "unverified")
    wait_for(lambda: minutes(line)[SITES[1]]["status"] == "failed")

    cities.trouble.clear()
    results = line.ok(*everything, "--document-type", "minutes", "--resume", "--json").json
    numbers = {result["site"]: result["walk"] for result in results}
    assert numbers == {SITES[0]: 2, SITES[1]: 1, SITES[2]: 1, SITES[3]: 2, SITES[4]: 2}
    assert pages_asked(cities, SITES[1]).count("0") == 1
    assert stored(line) == PAGES * len(SITES)


def test_all_walks_are_paused_resumed_and_cancelled_in_one_go(
    line: CommandLine, cities: Cities
) -> None:
    cities.trouble = dict.fromkeys(SITES, hang())
    tables = {f"{site}/minutes": "done" for site in SITES}
    started = answers(line, "start", "--all", "--mode", "full")
    assert started == {f"{site}/{kind}": "done" for site in SITES for kind in ("agenda", "minutes")}
    wait_for(lambda: len(cities.asked) == 2 * len(SITES))

    assert answers(line, "pause", "--all") == tables
    assert statuses(line) == {"paused"}
    assert answers(line, "pause", "--all") == {}
    assert answers(line, "resume", "--all") == tables
    assert statuses(line) == {"in_progress"}

    refused = line.run("walks", "cancel", "--all")
    assert refused.code == 1
    assert "--yes" in refused.err
    assert statuses(line) == {"in_progress"}
    assert answers(line, "cancel", "--all", "--yes") == tables
    assert statuses(line) == {"cancelled"}
    assert "There is no table to cancel" in line.ok("walks", "cancel", "--all", "--yes").err


def test_a_walk_that_waits_for_its_next_try_says_so(line: CommandLine, cities: Cities) -> None:
    site = SITES[0]
    cities.trouble[site] = answer("oh no", status=502)
    line.ok("backfill", "--subdomain", site, "--document-type", "minutes", "--no-wait")
    wait_for(lambda: minutes(line)[site]["attempt"] == 2)
    watching = line.start("backfill", "--subdomain", site, "--document-type", "minutes", "--resume")
    assert "502" in line.ok("walks", "--subdomain", site).out
    done = finished(watching)
    assert done.code == 1
    assert "ended as failed: the source answered 502" in done.err
    # Three for the walk itself, and as many if it had failed before it was resumed.
    assert minutes(line)[site]["retries"] in (3, 6)


def test_a_schedule_is_set_and_goes_by_the_settings_again(working: CommandLine) -> None:
    working.ok("sites", "add", "sch.ca", "--secret", "sch_secret")
    spans = ("--full", "90d", "--incremental", "12h", "--verify", "never")
    assert set(answers(working, "schedule", "sch.ca", *spans).values()) == {"done"}
    working.ok("walks", "schedule", "sch.ca/minutes", "--verify", "7d")
    working.ok("walks", "schedule", "sch.ca/agenda", "--default")

    (site,) = (one for one in working.ok("sites", "list", "--json").json if one["site"] == "sch.ca")
    agenda, of_minutes = site["tables"]
    day = 86_400
    assert agenda["schedule"] is None
    assert of_minutes["schedule"] == {
        "full_every": 90 * day,
        "incremental_every": day / 2,
        "verify_every": 7 * day,
    }
    assert of_minutes["next_walk_at"] is not None
    assert {table["secret"] for table in site["tables"]} == {"sch_secret"}
    shown = working.ok("sites", "list").out
    assert "default / full 90d, incremental 12h, verify 1w" in shown
    assert "sch_secret" in shown
    forced = working.ok("walks", "force-full", "sch.ca")
    assert forced.out.count("the next walk is a full one") == 2


def test_a_site_is_verified_without_its_pages_being_asked_for(working: CommandLine) -> None:
    working.ok("sites", "add", "ver.ca")
    following = ("backfill", "--subdomain", "ver.ca", "--document-type", "minutes", "--json")
    (walk,) = working.ok(*following, "--verify-only").json
    assert (walk["mode"], walk["pages"], walk["listed"], walk["expected"]) == (
        "verify",
        0,
        1200,
        1200,
    )
    assert walk["actual"] is None
    (walk,) = working.ok(*following, "--mode", "incremental").json
    assert (walk["mode"], walk["walk"]) == ("incremental", 2)


def test_a_site_that_is_removed_loses_its_rows_and_comes_back(working: CommandLine) -> None:
    working.ok("sites", "add", "rem.ca", "--name", "Removed")
    following = ("backfill", "--subdomain", "rem.ca", "--document-type", "minutes", "--json")
    working.ok(*following)
    rows_left = "SELECT count(*) FROM pagestream.meeting_page WHERE subdomain = 'rem.ca'"
    flagged = "SELECT removed, name FROM pagestream.municipality WHERE subdomain = 'rem.ca'"

    refused = working.run("sites", "remove", "rem.ca")
    assert refused.code == 1
    assert "its 1,200 pages" in refused.err
    for word in ("site removed", "already removed"):
        assert working.ok("sites", "remove", "rem.ca", "--yes").out.count(word) == 2
    wait_for(lambda: working.ask(rows_left) == [(0,)])
    wait_for(lambda: working.ask(flagged) == [(True, "Removed")])
    assert answers(working, "start", "rem.ca", code=1) == {
        "rem.ca/agenda": "refused",
        "rem.ca/minutes": "refused",
    }
    assert "is not known" in working.run("backfill", "--subdomain", "rem.ca").err

    assert working.ok("sites", "add", "rem.ca").out == "rem.ca: site added\n"
    (walk,) = working.ok(*following).json
    assert (walk["walk"], walk["created"]) == (2, 1200)
    assert working.ask(rows_left) == [(1200,)]


def test_a_plan_asks_once_and_then_knows(working: CommandLine) -> None:
    planning = ("plan", "--subdomain", "plan.ca", "--json")
    unknown = working.ok(*planning, "--offline").json
    assert (unknown["unknown"], unknown["requests"]) == (2, 0)
    agenda, of_minutes = working.ok(*planning).json["tables"]
    assert (agenda["pages"], agenda["origin"]) == (0, "source")
    assert agenda["remark"] == "the site has no such table"
    assert (of_minutes["pages"], of_minutes["origin"], of_minutes["requests"]) == (
        1200,
        "source",
        3,
    )
    working.ok("sites", "add", "plan.ca")
    working.ok("backfill", "--subdomain", "plan.ca")
    known = working.ok(*planning, "--offline", requests_per_minute="6").json
    assert [table["origin"] for table in known["tables"]] == ["walk", "walk"]
    assert (known["pages"], known["requests"]) == (1200, 5)
    assert known["hours"] == pytest.approx(5 / 6 / 60)
    assert "50 s, at 6 requests a minute" in working.ok(*planning[:-1], requests_per_minute="6").out
