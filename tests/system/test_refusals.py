"""Whatever is wrong, a person reads one line: what it is, and the remedy. The code is fixed."""

import time

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from fix_services import KafkaCorner
from fix_terminal import CommandLine, Finished

NOBODY_LISTENS = "127.0.0.1:1"
OTHER_SLOT = {"sink_slot": "sink-2", "log_level": "error"}


def said_in_one_line(done: Finished, code: int, *words: str) -> None:
    assert done.code == code, done
    assert len(done.err.splitlines()) == 1, done
    assert done.err.startswith("pagestream: "), done
    assert [word for word in words if word not in done.err] == [], done


def test_a_wrong_setting(bare: CommandLine) -> None:
    said_in_one_line(bare.run("run", "sink", sink_batch="0"), 78, "PAGESTREAM_SINK_BATCH")


def test_a_misspelt_setting(bare: CommandLine) -> None:
    done = bare.run("run", "walker", source_secert="hush-hush")
    said_in_one_line(done, 78, "PAGESTREAM_SOURCE_SECERT", "PAGESTREAM_SOURCE_SECRET")
    assert "hush" not in done.err


def test_wrong_usage(bare: CommandLine) -> None:
    said_in_one_line(bare.run("sites", "add", "x@evil.com"), 2, "is not a subdomain", "lower-case")


@pytest.mark.parametrize(
    "command",
    [("topics",), ("sites", "add", "a.ca"), ("run", "walker")],
    ids=" ".join,
)
def test_a_refused_kafka_is_said_at_once(bare: CommandLine, command: tuple[str, ...]) -> None:
    began = time.monotonic()
    done = bare.run(*command, kafka=NOBODY_LISTENS, log_level="error")
    assert time.monotonic() - began < 20
    said_in_one_line(done, 69, NOBODY_LISTENS, "PAGESTREAM_KAFKA")


def test_a_refused_database(working: CommandLine) -> None:
    away = f"postgresql://{NOBODY_LISTENS}/pagestream"
    said_in_one_line(working.run("migrate", database=away), 69, "PAGESTREAM_DATABASE")
    done = working.run("run", "sink", database=away, **OTHER_SLOT)
    said_in_one_line(done, 69, "PAGESTREAM_DATABASE")


def test_missing_topics(working: CommandLine) -> None:
    elsewhere = {"topic_prefix": "no-such", **OTHER_SLOT}
    for command in (("backfill", "--subdomain", "a.ca"), ("run", "walker"), ("run", "sink")):
        done = working.run(*command, **elsewhere)
        said_in_one_line(done, 78, "no-such.commands", "pagestream topics --create")


def test_a_wrong_partition_count(
    bare: CommandLine, kafka: KafkaCorner, kafka_admin: AdminClient
) -> None:
    new = kafka_admin.create_topics([NewTopic(f"{kafka.prefix}.pages", 3)])
    new[f"{kafka.prefix}.pages"].result(30)
    settings = {"kafka": kafka.bootstrap, "topic_prefix": kafka.prefix}
    done = bare.run("topics", "--create", "--json", **settings)
    assert done.code == 78
    assert f"{kafka.prefix}.pages has 3 partitions where 48 are needed" in done.err
    (pages,) = (topic for topic in done.json if topic["topic"] == f"{kafka.prefix}.pages")
    assert pages["partitions"] == 3
    said_in_one_line(bare.run("run", "walker", log_level="error", **settings), 78, "48")


def test_a_database_without_a_schema_or_with_another(
    working: CommandLine, database: str, migrated_database: str
) -> None:
    done = working.run("run", "sink", database=database, **OTHER_SLOT)
    said_in_one_line(done, 78, "no pagestream schema", "pagestream migrate")
    with psycopg.connect(migrated_database, autocommit=True) as connection:
        connection.execute("UPDATE pagestream_log.schema_version SET version_num = '9999'")
    done = working.run("run", "sink", database=migrated_database, **OTHER_SLOT)
    said_in_one_line(done, 78, "9999", "newer")


def test_an_unknown_site(working: CommandLine) -> None:
    done = working.run("backfill", "--subdomain", "unknown.ca")
    said_in_one_line(done, 1, "unknown.ca is not known", "pagestream sites add unknown.ca")


def test_the_doctor_names_each_thing_that_is_wrong(bare: CommandLine) -> None:
    away = f"postgresql://{NOBODY_LISTENS}/pagestream"
    done = bare.run("doctor", "--json", kafka=NOBODY_LISTENS, database=away)
    assert done.code == 69
    found = {finding["check"]: finding for finding in done.json}
    assert found["settings"]["state"] == "ok"
    for check in ("Kafka", "PostgreSQL"):
        assert found[check]["state"] == "fail"
        assert found[check]["remedy"]


def test_no_colour_where_there_is_no_terminal(bare: CommandLine) -> None:
    assert "\x1b" not in bare.run("--help").out
