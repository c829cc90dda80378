"""The whole road, driven as a person drives it: a site is added, walked, stored and looked at."""

import signal
from typing import Any

import psycopg
from confluent_kafka import Consumer, TopicPartition
from fix_source import SourceSite
from fix_terminal import CommandLine, end, interrupt, settings_for, wait_for


def backfill(site: str, kind: str = "minutes") -> tuple[str, ...]:
    return ("backfill", "--subdomain", site, "--document-type", kind)


def stored_rows(line: CommandLine, site: str) -> int:
    query = "SELECT count(*) FROM pagestream.meeting_page WHERE subdomain = %s"
    with psycopg.connect(line.environment["PAGESTREAM_DATABASE"]) as connection:
        row = connection.execute(query, (site,)).fetchone()
    return int(row[0]) if row else 0


def test_a_site_is_added_walked_stored_and_walked_again(working: CommandLine) -> None:
    added = working.ok("sites", "add", "one.ca", "--name", "Alameda", "--state", "CA")
    assert added.out == "one.ca: site added\n"
    sites = {site["site"]: site for site in working.ok("sites", "list", "--json").json}
    assert (sites["one.ca"]["name"], sites["one.ca"]["removed"]) == ("Alameda", False)
    (walk,) = working.ok(*backfill("one.ca"), "--json").json
    assert (walk["pages"], walk["stored"], walk["created"]) == (1200, 1200, 1200)
    assert stored_rows(working, "one.ca") == 1200
    (again,) = working.ok(*backfill("one.ca"), "--batch-size", "500", "--json").json
    assert (again["walk"], again["created"], again["unchanged"]) == (2, 0, 1200)
    assert working.state_of("one.ca/minutes")["rows"] == 500
    caught_up(working)


def caught_up(working: CommandLine) -> None:
    """A group that has read everything shows 0, although offsets are left: markers take some."""
    lags = {
        (lag["group"].rpartition(".")[2], lag["topic"]): lag
        for lag in working.ok("lag", "--json").json
    }
    assert {name for name, _ in lags} == {"walkers", "sink"}
    assert all(lag["members"] == 1 for lag in lags.values())
    wait_for(lambda: all(lag["records"] == 0 for lag in working.ok("lag", "--json").json))
    assert offsets_left(working, "walkers", "commands") > 0


def offsets_left(working: CommandLine, group: str, topic: str) -> int:
    prefix = working.environment["PAGESTREAM_TOPIC_PREFIX"]
    consumer = Consumer(
        {
            "bootstrap.servers": working.environment["PAGESTREAM_KAFKA"],
            "group.id": f"{prefix}.{group}",
        }
    )
    partitions = [TopicPartition(f"{prefix}.{topic}", number) for number in range(48)]
    committed = [one for one in consumer.committed(partitions, 30) if one.offset > 0]
    ends = [consumer.get_watermark_offsets(one, 30)[1] for one in committed]
    consumer.close()
    return sum(ends) - sum(one.offset for one in committed)


def test_a_walk_that_fails_is_said_and_its_code_is_1(working: CommandLine) -> None:
    working.ok("sites", "add", "two.ca")
    done = working.run(*backfill("two.ca", "agenda"))
    assert done.code == 1
    assert "walk 1 of two.ca/agenda ended as failed" in done.err.splitlines()[-1]
    assert "failed" in done.out
    assert working.state_of("two.ca/agenda")["error"]


def test_ctrl_c_leaves_the_walk_running(prepared: CommandLine, small_city: SourceSite) -> None:
    prepared.start("run", "walker", requests_per_minute="300", **settings_for(small_city))
    prepared.start("run", "sink")
    prepared.ok("sites", "add", "a.ca")
    watching = prepared.start(*backfill("a.ca"), "--batch-size", "100")

    def state() -> dict[str, Any]:
        return prepared.state_of("a.ca/minutes")

    wait_for(lambda: state()["pages"] > 0)
    done = interrupt(watching)
    assert done.code == 130
    assert "pagestream walks" in done.err.splitlines()[-1]
    assert state()["status"] == "in_progress"
    wait_for(lambda: state()["status"] == "unverified")
    wait_for(lambda: stored_rows(prepared, "a.ca") == 1200)


def test_without_a_walker_a_request_is_logged_and_done_later(prepared: CommandLine) -> None:
    done = prepared.run("sites", "add", "a.ca")
    assert done.code == 69
    assert len(done.err.splitlines()) == 1
    assert "it is logged" in done.err
    assert "pagestream run walker" in done.err
    assert "no site is known" in prepared.run("backfill", "--subdomain", "all").err
    walker = prepared.start("run", "walker")
    wait_for(lambda: len(prepared.ok("walks", "--json").json) == 2)
    assert end(walker, signal.SIGTERM).code == 0
    done = prepared.run(*backfill("a.ca", "both"), "--no-wait")
    assert done.code == 0
    assert "pagestream run walker" in done.err
    unread = {one["topic"]: one for one in prepared.ok("lag", "--json").json}
    assert (unread["commands"]["records"], unread["commands"]["exact"]) == (2, True)
    assert unread["walks"]["records"] is None
    assert "never committed" in unread["walks"]["unknown"]


def test_the_doctor_finds_nothing_wrong(working: CommandLine) -> None:
    def roles() -> set[str]:
        findings = working.ok("doctor", "--source", "a.ca", "--json").json
        assert {one["state"] for one in findings} <= {"ok", "warn"}
        return {one["check"] for one in findings if one["state"] == "ok"}

    wait_for(lambda: {"walker", "sink", "source", "schema", "topics", "clock"} <= roles())


def test_topics_are_created_once_and_counted(prepared: CommandLine) -> None:
    assert "nothing to create" in prepared.ok("topics", "--create").err
    topics = prepared.ok("topics", "--json").json
    assert len(topics) == 6
    assert all(topic["partitions"] == 48 and topic["wrong"] == [] for topic in topics)
    assert all((topic["records"], topic["records_exact"]) == (0, True) for topic in topics)


def test_migrating_twice_changes_nothing(bare: CommandLine, database: str) -> None:
    assert "an empty database" in bare.ok("migrate", database=database).out
    assert "nothing to do" in bare.ok("migrate", database=database).out
