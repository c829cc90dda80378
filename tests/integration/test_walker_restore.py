"""Restoring states beside transactions that have not ended: right, or refused, never stale.

Each dangerous moment is made on purpose. The state of step n is written with offset n, so that a
restore is stale exactly when the two differ. The control arms take one rule of the restore away,
and are seen to start stale.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from broken_walker import membership_of_no_generation
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from fix_proxy import two_brokers
from fix_walker import WalkerRig
from proxy import TO_SERVER
from walker_slot import TABLE, Slot

from producer.state import Owned, StaleStateError, StateRestorer
from runtime.errors import InternalError
from runtime.kafka.cluster import Cluster
from runtime.kafka.group import GroupConsumer
from runtime.kafka.records import Committed, Partition
from runtime.settings import Settings
from schemas.commands import PauseWalk
from schemas.topics import COMMANDS, WALKS

NUMBER = TABLE.partition
STATES = Partition(WALKS.name, NUMBER)


def begun(rig: WalkerRig) -> Slot:
    """Return a slot that has taken step 1, where commands for more are waiting."""
    for _ in range(3):
        rig.send(PauseWalk, TABLE, walk=1)
    slot = Slot(rig, "walker-1").join()
    slot.step(1)
    return slot


def restored(
    slot: Slot, by: type[StateRestorer] = StateRestorer, cluster: Cluster | None = None
) -> Owned:
    """Return what a restorer makes of the log now."""
    commands_id, settings = slot.commands_id, slot.rig.settings
    restorer = by(settings, cluster or slot.rig.cluster, commands_id, lambda: None)
    return restorer.restore(slot.consumer, [NUMBER])[NUMBER]


@contextmanager
def restoring(slot: Slot) -> Iterator[Future[Owned]]:
    """Restore beside the block, which begins when the restore is seen to wait."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(restored, slot)
        with pytest.raises(TimeoutError):
            found.result(0.7)
        yield found


def taken_over(zombie: Slot) -> AbstractContextManager[Future[Owned]]:
    """Have another slot restore, while the zombie's transaction makes it wait."""
    return restoring(zombie.succeeded_by("walker-2"))


def wait_for_offset(slot: Slot, offset: int) -> None:
    partition, deadline = Partition(COMMANDS.name, NUMBER), time.monotonic() + 20
    while slot.consumer.committed([partition], 20)[partition].offset != offset:
        assert time.monotonic() < deadline


def assert_holds(owned: Owned, step: int) -> None:
    assert (owned.offset, owned.as_of) == (step, step)
    assert owned.states[TABLE.key].steps == step


def assert_stale(owned: Owned) -> None:
    assert (owned.offset, owned.states[TABLE.key].steps) == (2, 1)


class Unchecked(StateRestorer):
    """Control arm: believes the states whatever the group's metadata says they must be."""

    def _settle(self, owned: Owned, partition: Partition, committed: Committed) -> None:
        super()._settle(owned, partition, Committed(committed.offset))


class CommittedEnds(Cluster):
    """Control arm: takes the end of what is committed for the end of the states."""

    def ends(
        self, partitions: Iterable[Partition], *, pending_too: bool = False
    ) -> dict[Partition, int]:
        assert pending_too
        return super().ends(partitions)


class EndTakenFirst(Cluster):
    """Control arm: takes the end of the states before it asks for the committed offset."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._first = super().ends([STATES], pending_too=True)

    def ends(
        self, partitions: Iterable[Partition], *, pending_too: bool = False
    ) -> dict[Partition, int]:
        asked = list(partitions)
        return self._first if asked == [STATES] else super().ends(asked, pending_too=pending_too)


# A marker on the states is late


def test_a_state_whose_marker_is_late_is_waited_for(tmp_path: Path) -> None:
    with two_brokers() as cluster:
        address = cluster.start()
        cluster.create_topics(address, "late")
        settings = Settings(
            kafka=address, topic_prefix="late", state_directory=tmp_path, _env_file=None
        )
        rig = WalkerRig(settings)
        slot = begun(rig)
        end_taken_first = EndTakenFirst(settings)
        slot.begin()
        slot.write_state(2)
        slot.send_offset(2)
        cluster.markers.freeze(TO_SERVER)
        slot.commit()
        cluster.markers.wait_until_held(TO_SERVER)
        # The controls: a restore to the end of what is committed, or to an end known too early.
        for arm in (CommittedEnds(settings), end_taken_first):
            assert_stale(restored(slot, Unchecked, arm))
            with pytest.raises(StaleStateError, match="newest state as of command 1"):
                restored(slot, StateRestorer, arm)
        with restoring(slot) as found:
            cluster.markers.thaw()
            assert_holds(found.result(30), 2)
        slot.consumer.close()


def test_a_transaction_open_before_the_newest_state_is_waited_for(walker_rig: WalkerRig) -> None:
    slot = begun(walker_rig)
    other = Slot(walker_rig, "walker-2")
    other.begin()
    other.write_state(9)
    slot.step(2)
    committed = CommittedEnds(walker_rig.settings)
    assert_stale(restored(slot, Unchecked, committed))
    with pytest.raises(StaleStateError, match="newest state as of command 1"):
        restored(slot, StateRestorer, committed)
    with restoring(slot) as found:
        other.abort()
        assert_holds(found.result(30), 2)


# A zombie goes on while its successor restores


def test_a_zombie_that_commits_during_the_restore_is_counted(
    walker_rig: WalkerRig,
) -> None:
    zombie = begun(walker_rig)
    zombie.begin()
    zombie.send_offset(2)
    with taken_over(zombie) as found:
        zombie.write_state(2)
        zombie.commit()
        assert_holds(found.result(30), 2)


def test_a_zombie_that_sends_its_offset_after_the_takeover_is_refused(
    walker_rig: WalkerRig,
) -> None:
    zombie = begun(walker_rig)
    zombie.begin()
    zombie.write_state(2)
    with taken_over(zombie) as found:
        with pytest.raises(KafkaException) as refused:
            zombie.send_offset(2)
        refusals = (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID)
        assert refused.value.args[0].code() in refusals
        zombie.abort()
        assert_holds(found.result(30), 1)


def test_a_zombie_without_a_generation_would_not_be_refused(walker_rig: WalkerRig) -> None:
    """Control arm: why an assignment outside any generation ends the process."""
    zombie = begun(walker_rig)
    owner = zombie.succeeded_by("walker-2")
    assert_holds(restored(owner), 1)
    zombie.begin()
    zombie.write_state(2)
    zombie.send_offset(2, membership_of_no_generation(walker_rig.settings))
    zombie.commit()
    assert_holds(restored(owner), 2)


def test_an_assignment_outside_any_generation_ends_the_process(walker_rig: WalkerRig) -> None:
    class Elsewhere(GroupConsumer):
        """Is told of its assignment as if it had not joined."""

        def _on_assign(self, consumer: Consumer, natives: list[TopicPartition]) -> None:
            assert consumer
            group = {"bootstrap.servers": walker_rig.settings.kafka, "group.id": "elsewhere"}
            super()._on_assign(Consumer(group), natives)

    with pytest.raises(InternalError, match="outside any generation"):
        Slot(walker_rig, "walker-1").join(Elsewhere)


def test_a_zombie_that_never_wakes_is_ended_by_its_slots_next_process(
    walker_rig: WalkerRig,
) -> None:
    zombie = begun(walker_rig)
    zombie.begin()
    zombie.write_state(2)
    zombie.send_offset(2)
    with taken_over(zombie) as found:
        Slot(walker_rig, "walker-1")
        assert_holds(found.result(30), 1)


def test_a_zombie_that_never_wakes_is_ended_by_its_successor(walker_rig: WalkerRig) -> None:
    zombie = begun(walker_rig)
    zombie.signs_as = zombie.name
    zombie.step(2)
    zombie.begin()
    zombie.write_state(3)
    zombie.send_offset(3)
    owner = zombie.succeeded_by("walker-2")
    began = time.monotonic()
    assert_holds(restored(owner), 2)
    assert time.monotonic() - began < 15
    with pytest.raises(KafkaException, match="fenced"):
        zombie.commit()


# Lost offsets, lost states


def test_lost_offsets_start_where_the_newest_state_stands(walker_rig: WalkerRig) -> None:
    slot = begun(walker_rig)
    slot.step(2)
    slot.consumer.commit({Partition(COMMANDS.name, NUMBER): Committed(0)})
    wait_for_offset(slot, 0)
    assert_holds(restored(slot), 2)


def test_the_newest_state_missing_is_refused(walker_rig: WalkerRig) -> None:
    slot = begun(walker_rig)
    slot.begin()
    slot.send_offset(2)
    slot.commit()
    with pytest.raises(StaleStateError, match="newest state as of command 1"):
        restored(slot)
    # The control: who does not compare starts with the state of another time.
    assert_stale(restored(slot, Unchecked))
