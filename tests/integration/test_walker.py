"""The walker on a real broker: exactly once whatever happens, restored right or not at all."""

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from fix_walker import WalkerRig

from pagestream.embedded.kafka import EmbeddedKafka
from producer.walker import group_name
from runtime.settings import Settings
from schemas.commands import AddSite, PauseWalk, StartWalk
from schemas.events import CommandAnswered, SourceListed, StepWalked, WalkEnded
from schemas.records import DeadLetter, Municipality, Page, WalkBarrier
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS, DEAD_LETTERS, LEDGER, MUNICIPALITIES, PAGES, WALKS
from schemas.walks import WalkState

ALAMEDA = Table("alameda.ca", "minutes")
PAGES_OF_SOURCE = 300
ROWS = 20
STEPS = 2 * PAGES_OF_SOURCE // ROWS


def begin(rig: WalkerRig, *tables: Table) -> None:
    for table in tables:
        rig.send(AddSite, table, municipality=Municipality(site=table.site))
        rig.send(StartWalk, table, rows=ROWS)


def over(state: WalkState) -> bool:
    return state.status in ("unverified", "failed")


def assert_walked_once(rig: WalkerRig, table: Table) -> None:
    """The whole account: every row once, every step once, in order, and the sums agree."""
    pages = [m for m in rig.messages(PAGES) if isinstance(m, Page) and (m.site, m.kind) == table]
    assert Counter(page.id for page in pages) == {
        f"{number:012x}": 1 for number in range(PAGES_OF_SOURCE)
    }
    events = [m for m in rig.messages(LEDGER) if (m.site, m.kind) == table]
    steps = [e for e in events if isinstance(e, StepWalked | SourceListed)]
    assert [step.step for step in steps] == list(range(STEPS))
    walked = [step for step in steps if isinstance(step, StepWalked)]
    assert sum(step.hash_sum for step in walked) == sum(page.row_hash for page in pages)
    (ended,) = [e for e in events if isinstance(e, WalkEnded)]
    assert (ended.pages, ended.listed, ended.steps) == (PAGES_OF_SOURCE, PAGES_OF_SOURCE, STEPS)
    barriers = [m for m in rig.messages(PAGES) if isinstance(m, WalkBarrier)]
    assert [b.number for b in barriers if (b.site, b.kind) == table] == [1]


def ended_by(process: subprocess.Popen[str], code: int) -> str:
    _, said = process.communicate(timeout=40)
    assert process.returncode == code, said
    return said


def test_a_walk_publishes_every_row_once_and_accounts_for_it(walker_rig: WalkerRig) -> None:
    others = [Table(f"site-{number}", "agenda") for number in range(3)]
    begin(walker_rig, ALAMEDA, *others)
    process = walker_rig.start(PAGES_OF_SOURCE)
    for table in (ALAMEDA, *others):
        assert walker_rig.wait_for(table, over).status == "unverified"
        assert_walked_once(walker_rig, table)
    assert {m.site for m in walker_rig.messages(MUNICIPALITIES)} == {
        table.site for table in (ALAMEDA, *others)
    }
    process.send_signal(signal.SIGTERM)
    ended_by(process, 0)


@pytest.mark.parametrize(
    "point", ["walker.begun", "walker.produced", "walker.offset_sent", "walker.committed"]
)
def test_killed_in_a_transaction_it_resumes_at_the_exact_step(
    walker_rig: WalkerRig, point: str
) -> None:
    begin(walker_rig, ALAMEDA)
    killed = walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_CRASH_AT=f"{point}:9")
    ended_by(killed, -signal.SIGKILL)
    before = walker_rig.state(ALAMEDA)
    assert before is not None
    assert 0 < before.steps < STEPS
    walker_rig.start(PAGES_OF_SOURCE)
    assert walker_rig.wait_for(ALAMEDA, over).status == "unverified"
    assert_walked_once(walker_rig, ALAMEDA)


def test_lost_group_offsets_decide_nothing_twice(walker_rig: WalkerRig) -> None:
    begin(walker_rig, ALAMEDA)
    first = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, lambda state: state.steps > 3)
    first.send_signal(signal.SIGTERM)
    ended_by(first, 0)
    forget_offsets(walker_rig)
    walker_rig.start(PAGES_OF_SOURCE)
    assert walker_rig.wait_for(ALAMEDA, over).status == "unverified"
    assert_walked_once(walker_rig, ALAMEDA)


def forget_offsets(rig: WalkerRig) -> None:
    """Move the group back to the beginning of every partition, without metadata."""
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka})
    group = group_name(rig.settings)
    deadline = time.monotonic() + 20
    while admin.describe_consumer_groups([group])[group].result(10).members:
        assert time.monotonic() < deadline, "the stopped walker's session should have ended"
    name = COMMANDS.full_name(rig.settings.topic_prefix)
    positions = [TopicPartition(name, number, 0) for number in range(PARTITIONS)]
    request = ConsumerGroupTopicPartitions(group, positions)
    admin.alter_consumer_group_offsets([request])[group].result(10)


def test_a_state_older_than_what_was_committed_is_refused(walker_rig: WalkerRig) -> None:
    name = COMMANDS.full_name(walker_rig.settings.topic_prefix)
    consumer = Consumer(
        {
            "bootstrap.servers": walker_rig.settings.kafka,
            "group.id": group_name(walker_rig.settings),
        }
    )
    walker_rig.send(PauseWalk, ALAMEDA, walk=1)
    position = TopicPartition(name, ALAMEDA.partition, 1, metadata="as-of=1")
    consumer.commit(offsets=[position], asynchronous=False)
    consumer.close()
    said = ended_by(walker_rig.start(PAGES_OF_SOURCE), 78)
    assert "newest state as of command 0, but the group committed one as of 1" in said


def test_states_of_commands_that_were_never_in_this_log_are_refused(
    walker_rig: WalkerRig,
) -> None:
    begin(walker_rig, ALAMEDA)
    first = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, over)
    first.kill()
    ended_by(first, -signal.SIGKILL)
    recreate_commands(walker_rig)
    said = ended_by(walker_rig.start(PAGES_OF_SOURCE), 78)
    assert "the walks' states are of a topic of commands with id" in said


def recreate_commands(rig: WalkerRig) -> None:
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka})
    name = COMMANDS.full_name(rig.settings.topic_prefix)
    admin.delete_topics([name])[name].result(20)
    deadline = time.monotonic() + 20
    while name in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline
    assert rig.cluster.create_topics() == [name]


def test_a_due_step_that_is_nowhere_in_the_log_is_given_again(walker_rig: WalkerRig) -> None:
    begin(walker_rig, ALAMEDA)
    first = walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_CRASH_AT="walker.committed:9")
    ended_by(first, -signal.SIGKILL)
    delete_all_commands(walker_rig)
    walker_rig.start(PAGES_OF_SOURCE)
    assert walker_rig.wait_for(ALAMEDA, over).status == "unverified"
    assert_walked_once(walker_rig, ALAMEDA)


def delete_all_commands(rig: WalkerRig) -> None:
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka})
    name = COMMANDS.full_name(rig.settings.topic_prefix)
    everything = TopicPartition(name, ALAMEDA.partition, -1)
    for deleted in admin.delete_records([everything]).values():
        deleted.result(20)


def test_a_state_that_is_not_ours_is_refused(walker_rig: WalkerRig) -> None:
    producer = Producer({"bootstrap.servers": walker_rig.settings.kafka})
    producer.produce(WALKS.full_name(walker_rig.settings.topic_prefix), b"{}", "x", 3)
    producer.flush(20)
    said = ended_by(walker_rig.start(PAGES_OF_SOURCE), 78)
    assert "walks 3/0 is no state of this walker" in said


def test_a_record_that_is_no_command_is_dead_lettered_and_passed(walker_rig: WalkerRig) -> None:
    producer = Producer({"bootstrap.servers": walker_rig.settings.kafka})
    name = COMMANDS.full_name(walker_rig.settings.topic_prefix)
    producer.produce(name, b"\xffgarbage", "x", ALAMEDA.partition)
    producer.flush(20)
    begin(walker_rig, ALAMEDA)
    walker_rig.start(PAGES_OF_SOURCE)
    assert walker_rig.wait_for(ALAMEDA, over).status == "unverified"
    (letter,) = walker_rig.messages(DEAD_LETTERS)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.original) == ("undecodable", b"\xffgarbage")


def test_every_request_is_answered(walker_rig: WalkerRig) -> None:
    unknown = walker_rig.send(StartWalk, ALAMEDA)
    added = walker_rig.send(AddSite, ALAMEDA, municipality=Municipality(site=ALAMEDA.site))
    paused = walker_rig.send(PauseWalk, ALAMEDA, walk=1)
    started = walker_rig.send(StartWalk, ALAMEDA, rows=ROWS)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, over)
    answers = {
        m.command_id: m.answer
        for m in walker_rig.messages(LEDGER)
        if isinstance(m, CommandAnswered)
    }
    assert answers == {unknown: "refused", added: "done", paused: "refused", started: "done"}


def test_a_second_process_in_the_same_slot_is_refused(walker_rig: WalkerRig) -> None:
    begin(walker_rig, ALAMEDA)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, over)
    said = ended_by(walker_rig.start(PAGES_OF_SOURCE), 75)
    assert "walker-1 is taken by another process" in said


def test_two_processes_in_one_slot_on_two_machines_do_not_both_live(
    walker_rig: WalkerRig, tmp_path: Path
) -> None:
    begin(walker_rig, ALAMEDA)
    first = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, over)
    elsewhere = str(tmp_path / "another-machine")
    walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_STATE_DIRECTORY=elsewhere)
    assert "two processes share one slot" in ended_by(first, 75)


def test_what_the_broker_refuses_for_good_fails_its_walk_and_no_other(
    walker_rig: WalkerRig,
) -> None:
    admin = AdminClient({"bootstrap.servers": walker_rig.settings.kafka})
    pages = PAGES.full_name(walker_rig.settings.topic_prefix)
    tiny = ConfigEntry("max.message.bytes", "300", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, pages, incremental_configs=[tiny])
    walker = walker_rig.start(PAGES_OF_SOURCE)
    begin(walker_rig, ALAMEDA)
    walker_rig.wait_for(ALAMEDA, over)
    admin.incremental_alter_configs([changed])[changed].result(20)
    walker_rig.send(StartWalk, ALAMEDA, rows=ROWS)
    failed = walker_rig.wait_for(ALAMEDA, lambda state: state.walk == 2 and over(state), 120)
    assert failed.status == "failed"
    assert "Kafka refused this step 5 times" in (failed.error or "")
    assert walker.poll() is None


def test_a_broker_killed_during_a_walk_costs_no_row_and_doubles_none(
    private_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    with own_rig(private_kafka, tmp_path) as rig:
        begin(rig, ALAMEDA)
        walker = rig.start(PAGES_OF_SOURCE)
        rig.wait_for(ALAMEDA, lambda state: state.steps > 3)
        private_kafka.kill()
        private_kafka.start()
        assert supervised_to_its_end(rig, walker).status == "unverified"
        assert_walked_once(rig, ALAMEDA)


def supervised_to_its_end(rig: WalkerRig, walker: subprocess.Popen[str]) -> WalkState:
    """Start the walker again whenever it ends for the broker's sake, as its supervisor would."""
    deadline = time.monotonic() + 120
    while (state := rig.state(ALAMEDA)) is None or not over(state):
        assert time.monotonic() < deadline, state
        if walker.poll() is not None:
            assert walker.returncode in (69, 70, 75)
            walker = rig.start(PAGES_OF_SOURCE)
        with suppress(subprocess.TimeoutExpired):
            walker.wait(1)
    return state


def test_told_to_stop_while_the_broker_is_away_it_still_ends(
    private_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    with own_rig(private_kafka, tmp_path) as rig:
        begin(rig, ALAMEDA)
        walker = rig.start(PAGES_OF_SOURCE)
        rig.wait_for(ALAMEDA, lambda state: state.steps > 3)
        private_kafka.kill()
        told = time.monotonic()
        walker.send_signal(signal.SIGTERM)
        walker.communicate(timeout=40)
        assert time.monotonic() - told < 20


@contextmanager
def own_rig(kafka: EmbeddedKafka, state: Path) -> Iterator[WalkerRig]:
    settings = Settings(kafka=kafka.start(), state_directory=state, _env_file=None)
    rig = WalkerRig(settings)
    try:
        yield rig
    finally:
        rig.close()


def test_missing_topics_stop_the_walker_with_the_remedy(walker_rig: WalkerRig) -> None:
    elsewhere = f"{walker_rig.settings.topic_prefix}-other"
    said = ended_by(walker_rig.start(1, PAGESTREAM_TOPIC_PREFIX=elsewhere), 78)
    assert f"missing topics: {elsewhere}.commands" in said
    assert "pagestream topics --create" in said


def test_an_unreachable_broker_stops_the_walker_with_the_remedy(walker_rig: WalkerRig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        said = ended_by(walker_rig.start(1, PAGESTREAM_KAFKA=nobody), 69)
    assert f"Kafka at {nobody} does not answer" in said
    assert "PAGESTREAM_KAFKA" in said


def test_told_to_stop_it_stops_within_ten_seconds_whatever_the_source_does(
    walker_rig: WalkerRig,
) -> None:
    begin(walker_rig, ALAMEDA)
    hanging = (
        "import sys, threading, walker_process\n"
        "walker_process.instant_source = lambda pages, step: threading.Event().wait()\n"
        "sys.exit(walker_process.main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hanging, str(PAGES_OF_SOURCE)],
        env={**walker_rig.environment(), "PYTHONPATH": str(sys.path[0])},
        stderr=subprocess.PIPE,
        text=True,
    )
    walker_rig.wait_for(ALAMEDA, lambda state: state.status == "in_progress")
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ended_by(process, 0)
    assert time.monotonic() - told < 10
