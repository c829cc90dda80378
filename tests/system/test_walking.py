"""The whole road, driven as a person drives it: a site is added, walked, stored and looked at."""

import signal

from confluent_kafka import Consumer, TopicPartition
from fix_source import SourceSite
from fix_terminal import CommandLine, end, finished, interrupt, settings_for, wait_for


def backfill(site: str, kind: str = "minutes") -> tuple[str, ...]:
    return ("backfill", "--subdomain", site, "--document-type", kind)


def stored_rows(line: CommandLine, site: str) -> int:
    query = "SELECT count(*) FROM pagestream.meeting_page WHERE subdomain = %s"
    return int(line.ask(query, site)[0][0])


def steps_of(line: CommandLine, site: str) -> int:
    """The steps of a site's walk of minutes, as the sink has seen them; 0 before it starts."""
    query = "SELECT steps FROM pagestream.walk WHERE subdomain = %s AND kind = 'minutes'"
    return int(next(iter(line.ask(query, site)), (0,))[0])


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


def test_a_table_that_a_site_never_had_is_no_failure(working: CommandLine) -> None:
    working.ok("sites", "add", "two.ca")
    (walk,) = working.ok(*backfill("two.ca", "agenda"), "--json").json
    assert (walk["status"], walk["verdict"], walk["error"]) == ("completed", "absent", None)


def test_ctrl_c_leaves_the_walk_running(prepared: CommandLine, small_city: SourceSite) -> None:
    prepared.start("run", "walker", requests_per_minute="60", **settings_for(small_city))
    prepared.start("run", "sink")
    prepared.ok("sites", "add", "a.ca")
    watching = prepared.start(*backfill("a.ca"), "--batch-size", "100")

    wait_for(lambda: steps_of(prepared, "a.ca") > 0)
    done = interrupt(watching)
    assert done.code == 130
    assert "pagestream walks" in done.err.splitlines()[-1]
    then = steps_of(prepared, "a.ca")
    wait_for(lambda: steps_of(prepared, "a.ca") > then)


def test_without_a_walker_requests_are_logged_and_done_later(prepared: CommandLine) -> None:
    topics = prepared.ok("topics", "--create", "--json")
    assert "nothing to create" in topics.err
    assert [topic["partitions"] for topic in topics.json] == [48] * 6
    assert all((topic["records"], topic["wrong"]) == (0, []) for topic in topics.json)
    walker = prepared.start("run", "walker")
    prepared.ok("sites", "add", "a.ca")
    assert end(walker, signal.SIGTERM).code == 0

    adding = prepared.start("sites", "add", "b.ca")
    walking = finished(prepared.start(*backfill("a.ca", "both"), "--no-wait"))
    assert walking.code == 0
    for done in (walking, finished(adding)):
        assert done.code in (0, 69)
        assert len(done.err.splitlines()) == 1
        assert "it is logged" in done.err
        assert "pagestream run walker" in done.err
    assert adding.returncode == 69
    behind = {one["topic"]: one for one in prepared.ok("lag", "--json").json}
    assert (behind["commands"]["records"], behind["commands"]["exact"]) == (4, True)
    assert behind["walks"]["records"] is None
    assert "never committed" in behind["walks"]["unknown"]

    prepared.start("run", "walker")
    wait_for(lambda: len(prepared.ok("sites", "list", "--json").json) == 2)


def test_the_doctor_finds_nothing_wrong(working: CommandLine) -> None:
    working.ok("sites", "add", "three.ca")
    wait_for(lambda: working.ask("SELECT FROM pagestream.municipality WHERE name IS NULL"))
    findings = working.ok("doctor", "--source", "three.ca", "--json").json
    assert {one["state"] for one in findings} == {"ok"}
    checks = {one["check"] for one in findings}
    assert {"walker", "sink", "source", "schema", "topics", "clock", "embedded"} <= checks


def test_migrating_twice_changes_nothing(bare: CommandLine, database: str) -> None:
    assert "an empty database" in bare.ok("migrate", database=database).out
    assert "nothing to do" in bare.ok("migrate", database=database).out
