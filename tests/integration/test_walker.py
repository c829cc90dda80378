"""The walker on a real broker: exactly once whatever happens, restored right or not at all."""

import signal
import socket
import subprocess
import sys
import time

from accounting import Account
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from fix_walker import ROWS, WalkerRig, allow_bytes, ended_by, is_over

from producer.walker import group_name
from schemas.commands import AddSite, PauseWalk, StartWalk
from schemas.events import CommandAnswered
from schemas.records import DeadLetter, Municipality
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS, DEAD_LETTERS, LEDGER, MUNICIPALITIES, PAGES, WALKS

ALAMEDA = Table("alameda.ca", "minutes")
PAGES_OF_SOURCE = 300


def assert_walked_once(rig: WalkerRig, table: Table) -> None:
    Account(rig).assert_walked_once(table, PAGES_OF_SOURCE, ROWS)


def test_a_walk_publishes_every_row_once_and_accounts_for_it(walker_rig: WalkerRig) -> None:
    others = [Table(f"site-{number}", "agenda") for number in range(3)]
    walker_rig.begin(ALAMEDA, *others)
    process = walker_rig.start(PAGES_OF_SOURCE)
    for table in (ALAMEDA, *others):
        assert walker_rig.wait_for(table, is_over).status == "unverified"
        assert_walked_once(walker_rig, table)
    assert {m.site for m in walker_rig.messages(MUNICIPALITIES)} == {
        table.site for table in (ALAMEDA, *others)
    }
    process.send_signal(signal.SIGTERM)
    ended_by(process, 0)


def test_lost_group_offsets_decide_nothing_twice(walker_rig: WalkerRig) -> None:
    walker_rig.begin(ALAMEDA)
    first = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, lambda state: state.steps > 3)
    first.send_signal(signal.SIGTERM)
    ended_by(first, 0)
    forget_offsets(walker_rig)
    walker_rig.start(PAGES_OF_SOURCE)
    assert walker_rig.wait_for(ALAMEDA, is_over).status == "unverified"
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
    walker_rig.begin(ALAMEDA)
    first = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, is_over)
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
    walker_rig.begin(ALAMEDA)
    walker_rig.start(PAGES_OF_SOURCE)
    assert walker_rig.wait_for(ALAMEDA, is_over).status == "unverified"
    (letter,) = walker_rig.messages(DEAD_LETTERS)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.original) == ("undecodable", b"\xffgarbage")


def test_every_request_is_answered(walker_rig: WalkerRig) -> None:
    unknown = walker_rig.send(StartWalk, ALAMEDA)
    added = walker_rig.send(AddSite, ALAMEDA, municipality=Municipality(site=ALAMEDA.site))
    paused = walker_rig.send(PauseWalk, ALAMEDA, walk=0)
    early = walker_rig.send(PauseWalk, ALAMEDA, walk=1)
    started = walker_rig.send(StartWalk, ALAMEDA, rows=ROWS)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, is_over)
    answers = {
        m.command_id: m.answer
        for m in walker_rig.messages(LEDGER)
        if isinstance(m, CommandAnswered)
    }
    assert answers == {
        unknown: "refused",
        added: "done",
        paused: "refused",
        early: "stale",
        started: "done",
    }


def test_a_second_process_in_the_same_slot_is_refused(walker_rig: WalkerRig) -> None:
    walker_rig.begin(ALAMEDA)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, is_over)
    said = ended_by(walker_rig.start(PAGES_OF_SOURCE), 75)
    assert "walker-1 is taken by another process" in said


def test_what_the_broker_refuses_for_good_fails_its_walk_and_no_other(
    walker_rig: WalkerRig,
) -> None:
    walker = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.begin(ALAMEDA)
    walker_rig.wait_for(ALAMEDA, is_over)
    allow_bytes(walker_rig.settings, PAGES, 300)
    walker_rig.send(StartWalk, ALAMEDA, rows=ROWS)
    failed = walker_rig.wait_for(ALAMEDA, lambda state: state.walk == 2 and is_over(state))
    assert failed.status == "failed"
    assert "Kafka refused what follows of it 5 times" in (failed.error or "")
    assert walker.poll() is None


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
    walker_rig.begin(ALAMEDA)
    hanging = (
        "import sys, threading, walker_process\n"
        "walker_process.instant_source = lambda pages, command: threading.Event().wait()\n"
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


def test_a_request_that_cannot_be_published_is_refused_and_holds_nobody_up(
    walker_rig: WalkerRig,
) -> None:
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.begin(ALAMEDA)
    walker_rig.wait_for(ALAMEDA, is_over)
    allow_bytes(walker_rig.settings, MUNICIPALITIES, 300)
    large = Municipality(site=ALAMEDA.site, popup_data="".join(map(chr, range(300, 3000))))
    refused = walker_rig.send(AddSite, ALAMEDA, municipality=large)
    walker_rig.send(StartWalk, ALAMEDA, rows=ROWS)
    walker_rig.wait_for(ALAMEDA, lambda state: state.walk == 2 and is_over(state))
    answers = [m for m in walker_rig.messages(LEDGER) if isinstance(m, CommandAnswered)]
    (answer,) = (answer for answer in answers if answer.command_id == refused)
    assert (answer.answer, "Kafka refused" in (answer.reason or "")) == ("refused", True)
