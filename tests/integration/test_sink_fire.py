"""Sinks under fire: two on one partition, members that come and go, a database that dies."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from fix_process import wait_until_frozen
from fix_services import migrate
from fix_sink import RunningSink, SinkRig, owned_partitions, wait_until
from samples import page

from consumers.sink import loop
from pagestream.embedded.postgres import EmbeddedPostgres

SITES = [f"city-{number}.ca" for number in range(5)]
QUICK_SESSION = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 400}


def publish(rig: SinkRig, pages: int, *, walk: int = 1) -> None:
    """Publish pages of every site; each walk changes the text of all that it finds."""
    for site in SITES:
        rig.publish(
            *(page(f"{n:05}", site, walk=walk, text=f"{n} in {walk}") for n in range(pages))
        )


def check_each_applied_once(rig: SinkRig, pages: int, walks: int) -> None:
    """The oracle: every record counted once, as what it must have been, and the newest stored."""
    total = pages * len(SITES)
    expected = {1: {"created": total}} | {n: {"updated": total} for n in range(2, walks + 1)}
    assert rig.figures() == expected
    stored = {(row["subdomain"], row["id"]): row["text"] for row in rig.contents()}
    assert stored == {(site, f"{n:05}"): f"{n} in {walks}" for site in SITES for n in range(pages)}


def counted(rig: SinkRig) -> int:
    """Return how many records have been counted, whatever became of them."""
    return sum(sum(figures.values()) for figures in rig.figures().values())


@contextmanager
def two_sinks_of_everything(rig: SinkRig, *how: str) -> Iterator[list[str]]:
    """Have two sinks that are assigned every partition, each by a group of its own.

    Yields a list that holds, after the block, what each of them logged.
    """
    groups = ("first", "second")
    sinks = [
        rig.start_process(group, *how, PAGESTREAM_SINK_SLOT=group, PAGESTREAM_SINK_BATCH="50")
        for group in groups
    ]
    names = [f"{rig.settings.topic_prefix}.{group}" for group in groups]
    wait_until(lambda: all(rig.cluster.members(name) for name in names), "both to be members")
    logs: list[str] = []
    yield logs
    for sink in sinks:
        sink.terminate()
        logs.append(sink.communicate(timeout=30)[1])
        assert sink.returncode == 0


def test_two_sinks_on_one_partition_apply_each_record_once(sink_rig: SinkRig) -> None:
    with two_sinks_of_everything(sink_rig) as logs:
        # Wave after wave, so that both stand at the same place whenever there is something to do.
        for walk in range(1, 9):
            publish(sink_rig, 20, walk=walk)
            sink_rig.settle()
    check_each_applied_once(sink_rig, 20, walks=8)
    assert "position_moved" in logs[0] + logs[1]


def test_without_the_compare_and_swap_two_sinks_count_twice(sink_rig: SinkRig) -> None:
    with two_sinks_of_everything(sink_rig, "careless"):
        publish(sink_rig, 100)
        wait_until(lambda: counted(sink_rig) > 500, "a record to be counted twice")


def test_members_that_come_and_go_every_second_lose_and_double_nothing(
    sink_rig: SinkRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUICK_SESSION.items():
        monkeypatch.setitem(vars(loop)["_TUNING"], name, value)
    owners: Counter[str] = Counter()
    walks = count(1)
    over = time.monotonic() + 6
    with sink_rig.running(sink_batch=100) as first:
        while time.monotonic() < over:
            slot = f"storm-{len(owners)}"
            publish(sink_rig, 40, walk=next(walks))
            with sink_rig.running(sink_batch=100, sink_slot=slot) as other:
                publish(sink_rig, 40, walk=next(walks))
                wait_until(lambda it=other: owned_partitions(it), "a share")  # type: ignore[misc]  # its default is its type
                owners[slot] += owned_partitions(other)
        sink_rig.settle(first)
    assert len(owners) > 1
    check_each_applied_once(sink_rig, 40, walks=next(walks) - 1)


def test_a_database_that_is_killed_is_written_again_within_five_seconds(
    sink_rig: SinkRig, private_postgres: EmbeddedPostgres
) -> None:
    database = private_postgres.start()
    migrate(database)
    rig = sink_rig.on(database)
    publish(rig, 600)
    with rig.running(sink_batch=50) as running:
        wait_until(lambda: counted(rig), "the first page")
        private_postgres.kill()
        before = _applied(running)
        assert before < 600 * len(SITES)
        private_postgres.start()
        back_at = time.monotonic()
        wait_until(lambda: _applied(running) > before, "a new commit", seconds=5)
        took = time.monotonic() - back_at
        rig.settle(running)
    assert took <= 5
    check_each_applied_once(rig, 600, walks=1)


def _applied(running: RunningSink) -> int:
    running.check()
    value = running.metrics.registry.get_sample_value(
        "pagestream_records_applied_total", {"topic": "pages"}
    )
    return int(value or 0)


def test_frozen_before_its_commit_it_is_overtaken_and_changes_nothing(sink_rig: SinkRig) -> None:
    publish(sink_rig, 100)
    frozen = sink_rig.start_process(
        PAGESTREAM_FREEZE_AT="sink.written:3", PAGESTREAM_SINK_BATCH="20"
    )
    wait_until_frozen(frozen)
    with sink_rig.running(sink_slot="second") as second:
        sink_rig.settle(second)
        frozen.send_signal(signal.SIGCONT)
        publish(sink_rig, 100, walk=2)
        sink_rig.settle(second)
        assert frozen.poll() is None
    check_each_applied_once(sink_rig, 100, walks=2)
