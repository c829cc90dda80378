"""Whole sinks between real servers: started, stopped, killed, cut off, doubled, misled."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from fix_services import migrate
from fix_sink import SinkRig, owned_partitions, wait_until
from pydantic import SecretStr
from samples import gone, now, page
from structlog.testing import capture_logs

from consumers.sink.positions import MARK
from pagestream.embedded.kafka import EmbeddedKafka
from pagestream.embedded.postgres import EmbeddedPostgres
from runtime.crashpoints import CRASH_POINTS
from runtime.settings import Settings
from schemas.records import Municipality, WalkBarrier
from schemas.tables import Table
from schemas.walks import WalkState

SITES = [f"city-{number}.ca" for number in range(5)]
SINK_POINTS = [point for point in CRASH_POINTS if point.startswith("sink.")]


def publish_sites(rig: SinkRig, pages: int, *, walk: int = 1, edited: str = "") -> None:
    for site in SITES:
        rig.publish(
            Municipality(site=site, name=site.title()),
            *(
                page(f"{number:04}", site, walk=walk, text=f"{number}{edited}")
                for number in range(pages)
            ),
            WalkBarrier(site=site, kind="minutes", number=walk, walk=walk, at=now()),
            WalkState(site=site, kind="minutes", revision=walk, walk=walk, pages=pages),
        )


def committed(admin: AdminClient, rig: SinkRig, topic: str, partition: int) -> TopicPartition:
    place = TopicPartition(f"{rig.settings.topic_prefix}.{topic}", partition)
    group = f"{rig.settings.topic_prefix}.sink"
    (answer,) = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group, [place])]
    ).values()
    (found,) = answer.result(20).topic_partitions
    assert isinstance(found, TopicPartition)
    return found


def test_everything_published_is_stored_and_the_positions_are_mirrored(
    sink_rig: SinkRig, kafka_admin: AdminClient
) -> None:
    publish_sites(sink_rig, 200)
    sink_rig.publish(gone("0000", SITES[0], walk=1))
    place = Table(SITES[0], "minutes").partition

    with sink_rig.running() as running:
        sink_rig.settle(running)
        assert running.readiness.reasons() == []
        wait_until(
            lambda: committed(kafka_admin, sink_rig, "pages", place).offset == 202,
            "the committed offset to follow",
        )

    assert committed(kafka_admin, sink_rig, "pages", place).metadata == MARK
    assert len(sink_rig.ids()) == 999
    assert sink_rig.figures() == {1: {"created": 1000, "deleted": 1}}
    assert len(sink_rig.rows("SELECT * FROM pagestream.walk WHERE pages = 200")) == 5
    assert len(sink_rig.rows("SELECT * FROM pagestream.walk_barrier WHERE number = 1")) == 5
    assert len(sink_rig.rows("SELECT * FROM pagestream.municipality WHERE NOT placeholder")) == 5


def test_a_second_walk_of_the_same_writes_no_row(sink_rig: SinkRig) -> None:
    publish_sites(sink_rig, 100)
    with sink_rig.running() as running:
        sink_rig.settle(running)
    before = sink_rig.fingerprint()

    publish_sites(sink_rig, 100, walk=2)
    with sink_rig.running() as running:
        sink_rig.settle(running)

    assert sink_rig.fingerprint() == before
    assert sink_rig.figures() == {1: {"created": 500}, 2: {"unchanged": 500}}
    dead = (
        "SELECT sum(n_dead_tup) + sum(n_tup_upd) + sum(n_tup_del) AS rows, sum(n_tup_ins) AS made"
        " FROM pg_stat_user_tables WHERE relname IN ('meeting_page', 'meeting_document')"
    )
    # A session's figures are certain once it has ended.
    wait_until(lambda: sink_rig.one(dead)["made"] == 505, "the statistics")
    assert sink_rig.one(dead)["rows"] == 0


def test_positions_put_back_under_a_running_sink_apply_all_again_and_change_nothing(
    sink_rig: SinkRig,
) -> None:
    publish_sites(sink_rig, 100)
    with sink_rig.running() as running, capture_logs() as logs:
        sink_rig.settle(running)
        before, figures = sink_rig.fingerprint(), sink_rig.figures()
        sink_rig.do("UPDATE pagestream_1.sink_position SET next_offset = 0")
        for site in SITES:
            sink_rig.publish(WalkState(site=site, kind="minutes", revision=9))
        for site in SITES:
            sink_rig.publish(page("new", site, walk=3))
        sink_rig.settle(running)

    assert [entry for entry in logs if entry["event"] == "position_moved"]
    assert [row for row in sink_rig.fingerprint() if row in before] == before
    assert sink_rig.figures() == figures | {3: {"created": 5}}


@pytest.mark.parametrize("point", SINK_POINTS)
def test_killed_anywhere_each_record_is_applied_exactly_once(
    sink_rig: SinkRig, kafka_admin: AdminClient, point: str
) -> None:
    publish_sites(sink_rig, 300)
    small = {"PAGESTREAM_SINK_BATCH": "100"}

    for nth in ("1", "3"):
        process = sink_rig.start_process(PAGESTREAM_CRASH_AT=f"{point}:{nth}", **small)
        assert process.wait(60) == -signal.SIGKILL
    place = Table(SITES[0], "minutes").partition
    with sink_rig.running(sink_batch=100) as running:
        sink_rig.settle(running)
        wait_until(
            lambda: committed(kafka_admin, sink_rig, "pages", place).offset == 301,
            "the committed offset to follow",
        )

    assert sink_rig.figures() == {1: {"created": 1500}}
    stored = [(row["subdomain"], row["id"], row["text"]) for row in sink_rig.contents()]
    assert stored == [(site, f"{n:04}", str(n)) for site in SITES for n in range(300)]


def test_told_to_stop_it_finishes_the_batch_in_hand(sink_rig: SinkRig) -> None:
    publish_sites(sink_rig, 300)
    process = sink_rig.start_process(PAGESTREAM_SINK_BATCH="100")
    wait_until(sink_rig.ids, "the first page")

    process.terminate()

    assert process.wait(20) == 0
    assert sink_rig.figures() == {1: {"created": len(sink_rig.ids())}}
    with sink_rig.running() as running:
        sink_rig.settle(running)
    assert sink_rig.figures() == {1: {"created": 1500}}


def test_lost_connections_lose_and_double_nothing(sink_rig: SinkRig) -> None:
    publish_sites(sink_rig, 400)
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'pagestream sink-1' AND datname = current_database()"
    )
    with sink_rig.running(sink_batch=50) as running:
        ended = 0
        while ended < 8 and len(sink_rig.ids()) < 2000:
            ended += len(sink_rig.rows(terminate))
        sink_rig.settle(running)

    assert ended
    assert sink_rig.figures() == {1: {"created": 2000}}
    assert not sink_rig.rows("SELECT * FROM pagestream.dead_letter")


def test_an_outage_waits_red_and_loses_nothing(
    sink_rig: SinkRig, private_postgres: EmbeddedPostgres
) -> None:
    database = private_postgres.start()
    migrate(database)
    rig = sink_rig.on(database)
    rig.publish(page("before"))
    with rig.running() as running:
        rig.settle(running)
        private_postgres.kill()
        rig.publish(page("during"), page("bad", text="\0"))
        wait_until(running.readiness.reasons, "the sink to turn red")
        assert "waiting for PostgreSQL" in running.readiness.reasons()[0]
        private_postgres.start()
        rig.settle(running)
        assert running.readiness.reasons() == []

    assert rig.ids() == ["before", "during"]
    assert rig.figures() == {1: {"created": 2, "dead_lettered": 1}}


def test_a_broker_that_comes_back_is_read_on(
    private_kafka: EmbeddedKafka, migrated_database: str, tmp_path: Path
) -> None:
    settings = Settings(
        kafka=private_kafka.start(),
        database=SecretStr(migrated_database),
        state_directory=tmp_path,
    )
    rig = SinkRig(settings)
    rig.publish(page("before"))
    sink = rig.start_process()
    try:
        rig.settle()
        private_kafka.kill()
        private_kafka.start()
        rig.publish(page("after"))
        wait_until(lambda: rig.ids() == ["after", "before"] or restarted(rig, sink), "the page")
    finally:
        rig.close()
    assert rig.figures() == {1: {"created": 2}}


def restarted(rig: SinkRig, sink: subprocess.Popen[str]) -> bool:
    """Start another sink where a broker's restart has cost this one its membership."""
    if sink.poll() is None:
        return False
    assert sink.returncode in (69, 70, 75)
    rig.start_process()
    wait_until(lambda: rig.ids() == ["after", "before"], "the page")
    return True


def test_a_table_that_is_locked_for_long_holds_reading_back(sink_rig: SinkRig) -> None:
    with capture_logs() as logs, sink_rig.running(sink_batch=10) as running:
        with psycopg.connect(sink_rig.settings.database.get_secret_value()) as other:
            other.execute("LOCK TABLE pagestream_1.meeting_page")
            publish_sites(sink_rig, 20)
            wait_until(lambda: _heard(logs, "reading_held"), "reading to be held")
            assert not _heard(logs, "reading_resumed")
        sink_rig.settle(running)

    assert _heard(logs, "reading_resumed")
    assert sink_rig.figures() == {1: {"created": 100}}
    assert not sink_rig.rows("SELECT * FROM pagestream.dead_letter")


def _heard(logs: Any, event: str) -> bool:
    return any(entry["event"] == event for entry in logs)


def test_two_sinks_share_the_work_and_one_takes_over(sink_rig: SinkRig) -> None:
    publish_sites(sink_rig, 100)
    with sink_rig.running(sink_slot="second", sink_batch=50) as second:
        with sink_rig.running(sink_batch=50) as first:
            publish_sites(sink_rig, 100, walk=2)
            sink_rig.settle(first)
            wait_until(
                lambda: owned_partitions(first) and owned_partitions(second),
                "both to own partitions",
            )
            assert owned_partitions(first) + owned_partitions(second) == 48
        publish_sites(sink_rig, 100, walk=3, edited="!")
        sink_rig.settle(second)
        assert owned_partitions(second) == 48

    assert sink_rig.figures() == {
        1: {"created": 500},
        2: {"unchanged": 500},
        3: {"updated": 500},
    }


def test_a_frozen_sink_that_wakes_up_changes_nothing(sink_rig: SinkRig) -> None:
    publish_sites(sink_rig, 400)
    frozen = sink_rig.start_process(PAGESTREAM_SINK_BATCH="20")
    wait_until(sink_rig.ids, "the first page")
    wait_until(lambda: _freeze_between_transactions(sink_rig, frozen), "a moment to freeze it")
    with sink_rig.running(sink_slot="second") as second:
        sink_rig.settle(second)
        frozen.send_signal(signal.SIGCONT)
        publish_sites(sink_rig, 400, walk=2, edited="!")
        sink_rig.settle(second)
        assert frozen.poll() is None

    assert len(sink_rig.ids()) == 2000
    assert sink_rig.figures() == {1: {"created": 2000}, 2: {"updated": 2000}}


def _freeze_between_transactions(rig: SinkRig, process: subprocess.Popen[str]) -> bool:
    """Stop a sink for a while, unless it holds locks that its successor would wait for."""
    process.send_signal(signal.SIGSTOP)
    busy = rig.rows(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pagestream sink-1'"
        " AND datname = current_database() AND state <> 'idle'"
    )
    if busy:
        process.send_signal(signal.SIGCONT)
    return not busy
