"""The walker: commands in, one Kafka transaction per command out.

One process, one consumer, one transactional producer, some fetching threads, one lane of commands
per owned partition:

1. Poll. A command joins its partition's lane. Its fetch begins once every earlier command of its
   table has committed and it is the one that is due; other tables of the partition fetch meanwhile.
   A lane that is full pauses its partition. Nothing here waits for a source.
2. Strictly in order, the head of a lane whose response is there, or that needs none, is decided,
   and committed in one transaction with everything it brings about and its offset. Memory changes
   after the commit.
3. Whatever fails between begin and commit: drop the lane, end the transaction with a new producer
   of the same id, restore the partition's states, seek to its committed offset. Nothing is
   published again from memory.
4. A command that is due but nowhere in the log is given again, when its partition has been read to
   its end and nothing has come for a while. Timers give what has its time. Only ever commands:
   never a state.

A request of a person, or of a timer, never waits for a response. Where one stands behind a head
whose response is not there yet, the head is *put back*:

5. One transaction moves the group's offset beyond the head and writes the same command once more,
   at the end of the log; likewise whatever stands right behind it and has no response yet. No state
   changes. What comes next in the lane has its turn.
6. Its fetch goes on, for it is kept by table and command, not by offset. It is used when exactly
   this command comes again and is still due, and dropped when the state no longer waits for it: a
   pause or a cancel ends it, another table's request does not. So the source is asked once.

That a command is put back can lose, double or fork nothing:

- Lose: offset and copy commit together, or neither does. At any moment the log beyond the group's
  offset holds the command if it did before. After a crash only the fetch is lost, a pure GET.
- Double: rows are published by the one transaction that also moves the state beyond this command.
  However many copies there are, the first with a response makes all others stale, because a copy is
  compared with `due(state)` at its own turn. A repair is remembered by its id as well.
- Fork: the state names the one command that it waits for, and putting back changes no state.
- Order: only commands that the walker gave itself are moved behind others. Requests keep theirs,
  and by the guard it makes no difference when a due command comes, only that it does.
- Flood: a head is put back only for a request behind it, which then has its turn before any copy
  comes again. So there are at most as many copies as requests times tables that wait for the
  source in this partition; without requests there are none.
- Starve: a copy has its turn once in each round of its lane, and whatever has come by then is used.
"""

import time
from itertools import islice
from typing import Final

from producer.committing import Committer
from producer.decide import FetchedCommand, fetchable
from producer.fetching import Download, Downloaded, Fetcher, Fetches
from producer.giving import Giver
from producer.intake import read_command
from producer.lanes import Lane, Pending
from producer.policy import policy_of
from producer.probation import Probation
from producer.responses import Fetched
from producer.solitude import check_share, must_be_alone
from producer.stalls import StallAlarm
from producer.state import Owned, StaleStateError, StateRestorer
from producer.timers import Clock
from runtime.health import Readiness
from runtime.kafka.cluster import Cluster
from runtime.kafka.group import GroupConsumer
from runtime.kafka.records import EndOfPartition, Partition, Record
from runtime.kafka.transactions import TransactionalProducer, TransactionFailed
from runtime.lifecycle import StopSignal, Watchdog
from runtime.logs import logger
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.topics import COMMANDS

READ_AHEAD: Final = 256
"""So many commands of a partition are read ahead: those due for its tables, and a request beyond.

A request that stands further behind waits until what is before it has its turn.
"""

WATCHDOG_SECONDS: Final = 60.0
_POLL_BUSY_SECONDS: Final = 0.005
_POLL_IDLE_SECONDS: Final = 0.1


def group_name(settings: Settings) -> str:
    """Return the walkers' consumer group."""
    return f"{settings.topic_prefix}.walkers"


def slot_name(settings: Settings) -> str:
    """Return the stable name of this process: its group membership, its transactions, its lock."""
    return f"{settings.topic_prefix}.{settings.walker_slot}"


class Walker:
    """One slot of the walkers' group; an Ownership of its partitions of `commands`.

    `clock` tells the time of day: of decisions, and for how long a timer waits.
    """

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        commands_id: str,
        download: Download,
        metrics: Metrics,
        readiness: Readiness,
        clock: Clock,
    ) -> None:
        slot = slot_name(settings)
        self._log = logger("walker")
        self._metrics = metrics
        self._readiness = readiness
        readiness.red("assignment", "no partitions were assigned yet")
        self._must_be_alone = must_be_alone(settings)
        self._fetches = Fetches(Fetcher(download, settings.requests_at_once))
        self._probation = Probation(commands_id, slot)
        self._watchdog = Watchdog(WATCHDOG_SECONDS)
        self._restorer = StateRestorer(settings, cluster, commands_id, self._watchdog.beat)
        self._owned: dict[int, Owned] = {}
        self._lanes: dict[int, Lane] = {}
        self._moved = False
        self._reached: dict[int, int] = {}
        self._alarm = StallAlarm(
            lambda: {n: at for n, at in self._reached.copy().items() if n not in self._lanes},
            lambda numbers: _ends(cluster, numbers),
            readiness,
        )
        # Opened before joining the group: this ends the transaction of the slot's previous life.
        self._producer = TransactionalProducer(settings, slot, metrics, self._watchdog.beat)
        policy = policy_of(settings)
        self._committer = Committer(self._producer, commands_id, policy, metrics, clock)
        self._giver = Giver(self._producer, policy, clock)
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
        if self._must_be_alone:
            check_share(len(partitions))
        self._must_be_alone = False  # whoever comes later finds us here
        began = time.monotonic()
        numbers = [partition.number for partition in partitions]
        self._owned = self._restorer.restore(self._consumer, numbers) if numbers else {}
        for owned in self._owned.values():
            self._giver.restored(owned)
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
            self._giver.forget(partition.number)
            self._owned.pop(partition.number, None)
            self._reached.pop(partition.number, None)
        self._metrics.put("pagestream_owned_partitions", len(self._owned), topic=COMMANDS.name)
        self._readiness.red("assignment", "its partitions were taken away, for a rebalance")

    def _drop_lane(self, number: int) -> None:
        self._lanes.pop(number, None)
        self._fetches.drop(number)
        self._giver.silence.ends(number)

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
        match self._consumer.poll(self._poll_seconds()):
            case Record() as record:
                self._take_in(record)
            case EndOfPartition(partition=number, offset=offset):
                self._giver.silence.begins(number)
                self._reached[number] = offset
        for number in list(self._lanes):
            try:
                self._advance(number)
            except TransactionFailed:
                self._recover(number)
                break
        self._giver.give(self._owned, self._lanes)

    def _poll_seconds(self) -> float:
        """Return how long the next turn may wait for a command: not at all while some are done."""
        moved, self._moved = self._moved, False
        if moved:
            return 0.0
        return _POLL_BUSY_SECONDS if self._lanes else _POLL_IDLE_SECONDS

    def _take_in(self, record: Record) -> None:
        number = record.partition
        if record.offset < self._owned[number].offset:
            raise StaleStateError(
                f"partition {number}: command {record.offset} came after "
                f"{self._owned[number].offset} had been reached",
                remedy="the topic of commands was cut or made anew: start this walker again",
            )
        self._giver.silence.ends(number)
        self._reached[number] = record.offset + 1
        lane = self._lanes.setdefault(number, Lane())
        lane.add(Pending(read_command(record), record.offset))
        if len(lane) >= READ_AHEAD:
            self._consumer.pause([Partition(COMMANDS.name, number)])

    def _advance(self, number: int) -> None:
        """Begin what can be fetched, and give the head of the lane its turn when it is ready."""
        owned, lane = self._owned[number], self._lanes[number]
        asking = self._asking(owned, lane.head)
        if asking is not None:
            self._fetches.begin(number, asking, alone=owned.on_probation)
        self._fetch_ahead(owned, lane)
        if asking is None:
            self._commit(owned, lane, None)
        elif (fetched := self._response(owned, asking)) is not None:
            self._commit(owned, lane, fetched)
        elif lane.must_not_wait and not owned.starts:
            self._put_back(owned, lane)

    def _asking(self, owned: Owned, pending: Pending) -> FetchedCommand | None:
        """Return a command whose turn must wait for a response, else None."""
        command = pending.command
        if not isinstance(command, FetchedCommand) or self._committer.gives_up(owned):
            return None
        return command if fetchable(owned.state(command.table), command) else None

    def _put_back(self, owned: Owned, lane: Lane) -> None:
        """Put back the head, and what stands right behind it and waits for a response as well.

        The head goes whatever has come meanwhile: it is kept, and used when the head is back.
        """
        waiting = [lane.head]
        for pending in islice(lane, 1, None):
            asking = self._asking(owned, pending)
            if asking is None or self._fetches.result(owned.number, asking) is not None:
                break
            waiting.append(pending)
        self._committer.put_back(owned, waiting, self._consumer.metadata)
        for _ in waiting:
            self._passed(owned.number, lane)

    def _fetch_ahead(self, owned: Owned, lane: Lane) -> None:
        """Fetch for what stands behind the head, as far as that is allowed."""
        if not lane.changed or not self._fetches.allow_ahead(owned.number):
            return
        lane.changed = False
        for command in lane.firsts():
            due_now = fetchable(owned.state(command.table), command)
            alone = owned.on_probation
            if due_now and not self._fetches.begin_ahead(owned.number, command, alone=alone):
                lane.changed = True
                return

    def _response(self, owned: Owned, command: FetchedCommand) -> Fetched | None:
        fetched = self._fetches.result(owned.number, command)
        if isinstance(fetched, Downloaded):
            return self._probation.decode(owned, command, fetched, self._consumer)
        return fetched

    def _commit(self, owned: Owned, lane: Lane, fetched: Fetched | None) -> None:
        state = self._committer.commit(owned, lane.head, fetched, self._consumer.metadata)
        if state is not None:
            self._fetches.settle(owned.number, state)
            self._giver.decided(owned.number, state)
        self._passed(owned.number, lane)

    def _passed(self, number: int, lane: Lane) -> None:
        """Let the next command have its turn."""
        self._moved = True
        self._giver.silence.stirred(number)
        lane.passed()
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
            self._giver.restored(self._owned[number])
            self._consumer.seek(partition, self._owned[number].offset)
            self._consumer.resume([partition])
            # At the end of the log there may be no word that it is the end.
            self._giver.silence.begins(number)
        self._log.info("recovered", partition=number)


def _ends(cluster: Cluster, numbers: list[int]) -> dict[int, int]:
    ends = cluster.ends([Partition(COMMANDS.name, number) for number in numbers])
    return {partition.number: end for partition, end in ends.items()}
