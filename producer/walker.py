"""The walker: commands in, one Kafka transaction per command out.

One process, one consumer, one transactional producer, a few fetching threads, one lane of commands
per owned partition:

1. Poll. A command joins its partition's lane. Its fetch begins once every earlier command of its
   table has committed and it is the step that is due; other tables of the partition fetch
   meanwhile. A lane that is full pauses its partition. Nothing here waits for a source.
2. Strictly in order, the head of a lane whose fetch is done is decided, and committed in one
   transaction with everything it brings about and its offset. Memory changes after the commit.
3. Whatever fails between begin and commit: drop the lane, end the transaction with a new producer
   of the same id, restore the partition's states, seek to its committed offset. Nothing is
   published again from memory.
4. A step that is due but nowhere in the log is given again, when its partition has been read to
   its end and nothing has come for a while. Only ever a command: never a state.
"""

import time
from typing import Final

from producer.committing import Committer
from producer.decide import due
from producer.fetching import Fetch, Fetcher
from producer.intake import read_command
from producer.lanes import Lane, Pending
from producer.stalls import StallAlarm
from producer.state import Owned, StaleStateError, StateRestorer
from runtime.health import Readiness
from runtime.kafka.cluster import Cluster
from runtime.kafka.group import GroupConsumer
from runtime.kafka.records import EndOfPartition, Outgoing, Partition, Record, outgoing
from runtime.kafka.transactions import TransactionalProducer, TransactionFailed
from runtime.lifecycle import StopSignal, Watchdog
from runtime.logs import logger
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.commands import TakeStep
from schemas.topics import COMMANDS

READ_AHEAD: Final = 16
WATCHDOG_SECONDS: Final = 60.0
HEAL_AFTER_SECONDS: Final = 5.0
_POLL_BUSY_SECONDS: Final = 0.005
_POLL_IDLE_SECONDS: Final = 0.1


def group_name(settings: Settings) -> str:
    """Return the walkers' consumer group."""
    return f"{settings.topic_prefix}.walkers"


class Walker:
    """One slot of the walkers' group; an Ownership of its partitions of `commands`."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        commands_id: str,
        fetch: Fetch,
        metrics: Metrics,
        readiness: Readiness,
    ) -> None:
        slot = f"{settings.topic_prefix}.{settings.walker_slot}"
        self._log = logger("walker")
        self._metrics = metrics
        self._readiness = readiness
        readiness.red("assignment", "no partitions were assigned yet")
        self._fetcher = Fetcher(fetch, settings.requests_at_once)
        self._watchdog = Watchdog(WATCHDOG_SECONDS)
        self._restorer = StateRestorer(settings, cluster, commands_id, self._watchdog.beat)
        self._owned: dict[int, Owned] = {}
        self._lanes: dict[int, Lane] = {}
        self._silent_since: dict[int, float] = {}
        self._reached: dict[int, int] = {}
        self._alarm = StallAlarm(
            lambda: {n: at for n, at in self._reached.copy().items() if n not in self._lanes},
            lambda numbers: _ends(cluster, numbers),
            readiness,
        )
        # Opened before joining the group: this ends the transaction of the slot's previous life.
        self._producer = TransactionalProducer(settings, slot, metrics, self._watchdog.beat)
        self._committer = Committer(self._producer, commands_id, metrics)
        self._consumer = GroupConsumer(
            settings,
            group=group_name(settings),
            member=slot,
            topics=(COMMANDS.name,),
            ownership=self,
        )

    # Ownership

    def assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        """Restore the states of these partitions, and start each where its states stand."""
        began = time.monotonic()
        numbers = [partition.number for partition in partitions]
        self._owned = self._restorer.restore(self._consumer, numbers) if numbers else {}
        seconds = time.monotonic() - began
        self._readiness.clear("assignment")
        self._metrics.observe("pagestream_restore_seconds", seconds)
        self._metrics.put("pagestream_owned_partitions", len(numbers), topic=COMMANDS.name)
        tables = sum(len(owned.states) for owned in self._owned.values())
        self._log.info(
            "states_restored", partitions=len(numbers), tables=tables, seconds=round(seconds, 3)
        )
        self._reached = {number: owned.offset for number, owned in self._owned.items()}
        return {partition: self._owned[partition.number].offset for partition in partitions}

    def revoked(self, partitions: list[Partition]) -> None:
        """Drop lanes and states: they are somebody else's now."""
        for partition in partitions:
            self._drop_lane(partition.number)
            self._owned.pop(partition.number, None)
            self._reached.pop(partition.number, None)
        self._metrics.put("pagestream_owned_partitions", len(self._owned), topic=COMMANDS.name)
        self._readiness.red("assignment", "its partitions were taken away, for a rebalance")

    def _drop_lane(self, number: int) -> None:
        if (lane := self._lanes.pop(number, None)) is not None:
            lane.cancel()
        self._silent_since.pop(number, None)

    # The loop

    def run(self, stop: StopSignal) -> None:
        """Walk until told to stop; what is being fetched then is fetched again next time."""
        with self._watchdog.watching(), self._alarm.watching():
            try:
                while not stop.is_set():
                    self._watchdog.beat()
                    self._turn()
            finally:
                self._watchdog.beat()
                self._consumer.close()

    def _turn(self) -> None:
        match self._consumer.poll(_POLL_BUSY_SECONDS if self._lanes else _POLL_IDLE_SECONDS):
            case Record() as record:
                self._take_in(record)
            case EndOfPartition(partition=number, offset=offset):
                self._silent_since[number] = time.monotonic()
                self._reached[number] = offset
        for number in list(self._lanes):
            try:
                self._advance(number)
            except TransactionFailed:
                self._recover(number)
                break
        self._heal()

    def _take_in(self, record: Record) -> None:
        number = record.partition
        if record.offset < self._owned[number].offset:
            raise StaleStateError(
                f"partition {number}: command {record.offset} came after "
                f"{self._owned[number].offset} had been reached",
                remedy="the topic of commands was cut or made anew: start this walker again",
            )
        self._silent_since.pop(number, None)
        self._reached[number] = record.offset + 1
        lane = self._lanes.setdefault(number, Lane())
        lane.add(Pending(read_command(record), record.offset))
        if len(lane) >= READ_AHEAD:
            self._consumer.pause([Partition(COMMANDS.name, number)])

    def _advance(self, number: int) -> None:
        """Begin what can be fetched, and commit the head of the lane when it is ready."""
        owned, lane = self._owned[number], self._lanes[number]
        for pending, step in lane.next_steps():
            if step == due(owned.state(step.table)):
                pending.response = self._fetcher.submit(step)
        if not lane.head.ready():
            return
        self._committer.commit(owned, lane.head, self._consumer.metadata)
        if number in self._silent_since:
            self._silent_since[number] = time.monotonic()
        lane.decided()
        if not lane:
            del self._lanes[number]
        if len(lane) == READ_AHEAD - 1:
            self._consumer.resume([Partition(COMMANDS.name, number)])

    def _recover(self, number: int) -> None:
        """Ask the broker what happened; an error in here ends the process."""
        self._producer.recover()
        self._drop_lane(number)
        partition = Partition(COMMANDS.name, number)
        if partition in self._consumer.assignment():
            self._owned |= self._restorer.restore(self._consumer, [number])
            self._consumer.seek(partition, self._owned[number].offset)
            self._consumer.resume([partition])
            # At the end of the log there may be no word that it is the end.
            self._silent_since[number] = time.monotonic()
        self._log.info("recovered", partition=number)

    # Healing

    def _heal(self) -> None:
        now = time.monotonic()
        silent = [
            number
            for number, since in self._silent_since.items()
            if now - since > HEAL_AFTER_SECONDS and number not in self._lanes
        ]
        if not silent:
            return
        lost = [step for number in silent for step in self._due_steps(number)]
        self._silent_since |= dict.fromkeys(silent, now)
        if lost:
            self._log.warning("due_steps_given_again", tables=[step.table.key for step in lost])
            try:
                self._producer.publish([_given_again(step) for step in lost])
            except TransactionFailed:
                self._producer.recover()

    def _due_steps(self, number: int) -> list[TakeStep]:
        steps = (due(state) for state in self._owned[number].states.values())
        return [step for step in steps if step is not None]


def _given_again(step: TakeStep) -> Outgoing:
    return outgoing(COMMANDS, step.table.key, step.table.partition, step)


def _ends(cluster: Cluster, numbers: list[int]) -> dict[int, int]:
    ends = cluster.ends([Partition(COMMANDS.name, number) for number in numbers])
    return {partition.number: end for partition, end in ends.items()}
