"""The walker killed, frozen and chased about: every row and every step once, as if undisturbed."""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from accounting import Account
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from fix_process import wait_until_frozen
from fix_services import KafkaCorner
from fix_walker import ROWS, WalkerRig, ended_by, is_over

from producer.walker import group_name
from runtime.crashpoints import CRASH_POINTS
from runtime.kafka.records import outgoing
from runtime.settings import Settings
from schemas.commands import TakeStep
from schemas.records import Page
from schemas.tables import Table
from schemas.topics import COMMANDS, PAGES
from schemas.walks import Position

ALAMEDA = Table("alameda.ca", "minutes")
PAGES_OF_SOURCE = 300
TAKEOVER_SECONDS = 15
POINTS = [point for point in CRASH_POINTS if point.startswith("walker.")]
REFUSED_AT = ("walker.begun", "walker.produced")
"""Here a zombie has not sent its offset yet, and cannot any more."""


def assert_undisturbed(rig: WalkerRig, *tables: Table) -> None:
    """Check all of the outcome: nothing doubled, nothing lost, every state as decided."""
    for table in tables:
        assert rig.wait_for(table, is_over).status == "unverified"
    account = Account(rig)
    for table in tables:
        account.assert_walked_once(table, PAGES_OF_SOURCE, ROWS)
    account.assert_replayed()


@pytest.mark.parametrize("point", POINTS)
def test_killed_in_a_transaction_it_resumes_at_the_exact_step(
    walker_rig: WalkerRig, point: str
) -> None:
    walker_rig.begin(ALAMEDA)
    killed = walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_CRASH_AT=f"{point}:9")
    ended_by(killed, -signal.SIGKILL)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, lambda state: state.steps > 8, TAKEOVER_SECONDS)
    assert_undisturbed(walker_rig, ALAMEDA)


def test_killed_in_a_transaction_another_slot_takes_over_in_time(walker_rig: WalkerRig) -> None:
    """The broker alone would end the transaction, which holds the offset, after half a minute."""
    walker_rig.begin(ALAMEDA)
    killed = walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_CRASH_AT="walker.offset_sent:9")
    ended_by(killed, -signal.SIGKILL)
    walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_WALKER_SLOT="walker-2")
    walker_rig.wait_for(ALAMEDA, lambda state: state.steps > 8, TAKEOVER_SECONDS)
    assert_undisturbed(walker_rig, ALAMEDA)


def test_a_due_step_that_is_nowhere_in_the_log_is_given_again(walker_rig: WalkerRig) -> None:
    walker_rig.begin(ALAMEDA)
    first = walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_CRASH_AT="walker.committed:9")
    ended_by(first, -signal.SIGKILL)
    delete_all_commands(walker_rig)
    walker_rig.start(PAGES_OF_SOURCE)
    assert walker_rig.wait_for(ALAMEDA, is_over).status == "unverified"
    Account(walker_rig).assert_walked_once(ALAMEDA, PAGES_OF_SOURCE, ROWS)


def delete_all_commands(rig: WalkerRig) -> None:
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka})
    name = COMMANDS.full_name(rig.settings.topic_prefix)
    everything = TopicPartition(name, ALAMEDA.partition, -1)
    for deleted in admin.delete_records([everything]).values():
        deleted.result(20)


def test_two_processes_in_one_slot_on_two_machines_do_not_both_live(
    walker_rig: WalkerRig, tmp_path: Path
) -> None:
    walker_rig.begin(ALAMEDA)
    first = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, is_over)
    elsewhere = str(tmp_path / "another-machine")
    walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_STATE_DIRECTORY=elsewhere)
    assert "two processes share one slot" in ended_by(first, 75)


def test_a_step_published_before_its_offset_would_be_doubled(walker_rig: WalkerRig) -> None:
    """Control arm: the same kill, where publishing and offset are two transactions."""
    walker_rig.begin(ALAMEDA)
    crash = "walker.begun:10"  # the fifth command: published, its offset not yet moved
    killed = walker_rig.start_broken(
        "produce-then-commit", PAGES_OF_SOURCE, PAGESTREAM_CRASH_AT=crash
    )
    ended_by(killed, -signal.SIGKILL)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, is_over)
    assert Counter(copies(walker_rig).values()) == {1: PAGES_OF_SOURCE - ROWS, 2: ROWS}


def test_a_step_published_after_its_offset_would_be_lost(walker_rig: WalkerRig) -> None:
    """Control arm: the same kill, where the offset goes first."""
    walker_rig.begin(ALAMEDA)
    killed = walker_rig.start_broken(
        "offset-first", PAGES_OF_SOURCE, PAGESTREAM_CRASH_AT="walker.committed:5"
    )
    ended_by(killed, -signal.SIGKILL)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, is_over)
    assert len(copies(walker_rig)) == PAGES_OF_SOURCE - ROWS


def copies(rig: WalkerRig) -> Counter[str]:
    """Return how often each page was published."""
    return Counter(m.id for m in rig.messages(PAGES) if isinstance(m, Page))


def test_a_doubled_step_forks_no_walk(walker_rig: WalkerRig) -> None:
    begin_with_a_doubled_step(walker_rig)
    walker_rig.start(PAGES_OF_SOURCE)
    assert_undisturbed(walker_rig, ALAMEDA)


def test_a_doubled_step_would_fork_the_walk_if_every_step_were_taken(
    walker_rig: WalkerRig,
) -> None:
    """Control arm: the guard is off."""
    begin_with_a_doubled_step(walker_rig)
    walker_rig.start_broken("no-guard", PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, lambda state: state.barrier == 2)
    assert set(copies(walker_rig).values()) == {2}


def begin_with_a_doubled_step(rig: WalkerRig) -> None:
    rig.begin(ALAMEDA)
    first = TakeStep(
        site=ALAMEDA.site,
        kind=ALAMEDA.kind,
        walk=1,
        step=0,
        position=Position(phase="pages"),
        rows=ROWS,
    )
    rig.publish(outgoing(COMMANDS, ALAMEDA.key, ALAMEDA.partition, first))


def test_frozen_in_a_transaction_it_wakes_as_a_zombie_and_changes_nothing(
    kafka: KafkaCorner, tmp_path: Path
) -> None:
    """All at once, each with topics of its own: what takes long is the end of a session."""
    with ExitStack() as stack:
        rigs = {point: stack.enter_context(own_rig(kafka, tmp_path, point)) for point in POINTS}
        zombies = {
            point: rig.start(PAGES_OF_SOURCE, PAGESTREAM_FREEZE_AT=f"{point}:9")
            for point, rig in rigs.items()
        }
        # The control: the same freeze, and a proof of membership that proves nothing.
        control = stack.enter_context(own_rig(kafka, tmp_path, "control"))
        unfenced = control.start_broken(
            "no-generation", PAGES_OF_SOURCE, PAGESTREAM_FREEZE_AT="walker.begun:9"
        )
        for zombie, rig in [
            *((zombies[point], rigs[point]) for point in POINTS),
            (unfenced, control),
        ]:
            wait_until_frozen(zombie)
            rig.start(PAGES_OF_SOURCE, PAGESTREAM_WALKER_SLOT="walker-2")
        for point, rig in rigs.items():
            wait_until_taken_over(rig)
            if point in ("walker.begun", "walker.committed"):
                # There is no open transaction to wait for: the successor walks to the end.
                rig.wait_for(ALAMEDA, is_over)
            wake_and_stop(zombies[point])
        for point, rig in rigs.items():
            said = ended_by(zombies[point], 0)
            assert ("transaction_failed" in said) == (point in REFUSED_AT), said
            assert_undisturbed(rig, ALAMEDA)
        control.wait_for(ALAMEDA, is_over)
        wake_and_stop(unfenced)
        ended_by(unfenced, 0)
        assert Counter(copies(control).values()) == {1: PAGES_OF_SOURCE - ROWS, 2: ROWS}


def wake_and_stop(zombie: subprocess.Popen[str]) -> None:
    """Let a zombie finish what it is at, and no more."""
    zombie.send_signal(signal.SIGTERM)
    zombie.send_signal(signal.SIGCONT)


@contextmanager
def own_rig(kafka: KafkaCorner, state: Path, name: str) -> Iterator[WalkerRig]:
    prefix = f"{kafka.prefix}-{name.replace('.', '-')}"
    rig = WalkerRig(
        Settings(kafka=kafka.bootstrap, topic_prefix=prefix, state_directory=state, _env_file=None)
    )
    rig.begin(ALAMEDA)
    yield rig
    rig.close()


def wait_until_taken_over(rig: WalkerRig) -> None:
    """Wait until walker-2 is the group's only member."""
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka})
    group, deadline = group_name(rig.settings), time.monotonic() + 30
    only = [f"{rig.settings.topic_prefix}.walker-2"]
    while True:
        members = admin.describe_consumer_groups([group])[group].result(10).members
        if [member.group_instance_id for member in members] == only:
            return
        assert time.monotonic() < deadline, members
        time.sleep(0.1)


def test_members_that_come_and_go_disturb_nothing(walker_rig: WalkerRig) -> None:
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_WALKER_SLOT="walker-2")
    tables = [Table(f"storm-{number}", "minutes") for number in range(8)]
    for number in range(0, len(tables), 2):
        walker_rig.begin(tables[number])
        with passing_member(walker_rig):
            walker_rig.begin(tables[number + 1])
    assert_undisturbed(walker_rig, *tables)


@contextmanager
def passing_member(rig: WalkerRig) -> Iterator[None]:
    """Be a member of the walkers' group that is assigned partitions and leaves at once."""
    consumer = Consumer(
        {
            "bootstrap.servers": rig.settings.kafka,
            "group.id": group_name(rig.settings),
            "partition.assignment.strategy": "range",
            # It must not take a command for decided that it has only seen.
            "enable.auto.commit": False,
        }
    )
    assigned: list[TopicPartition] = []
    consumer.subscribe(
        [COMMANDS.full_name(rig.settings.topic_prefix)],
        on_assign=lambda _consumer, partitions: assigned.extend(partitions),
    )
    deadline = time.monotonic() + 30
    while not assigned:
        assert time.monotonic() < deadline
        consumer.poll(0.1)
    yield
    consumer.close()
