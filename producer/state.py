"""The states of the owned partitions: read back from the compacted topic `walks`, never guessed."""

from collections.abc import Callable
from typing import Final

import msgspec

from producer.publication import AS_OF_HEADER, COMMANDS_HEADER
from runtime.errors import BrokerUnavailable, ConfigurationError, Unavailable
from runtime.kafka.cluster import Cluster
from runtime.kafka.group import GroupConsumer
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Committed, Partition, Record
from runtime.kafka.transactions import end_transactions
from runtime.logs import logger
from runtime.settings import Settings
from schemas.codec import NewerMessageError, UndecodableError, decode
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS, WALKS
from schemas.walks import WalkState

_STAGE_SECONDS: Final = 45.0
_PATIENCE_SECONDS: Final = 3.0
_OTHER_LOG_REMEDY: Final = (
    "topics of two installations are mixed, or the topic of commands was made anew: restore it, "
    "or start anew under another PAGESTREAM_TOPIC_PREFIX"
)


class StaleStateError(ConfigurationError):
    """What was read back does not fit what the group committed: going on would fork walks."""


class Owned(msgspec.Struct):
    """What this process knows of one partition, all of one same instant.

    `offset` is that of the next command to decide, `as_of` that of the command after the one which
    made the newest state. `starts` is how often somebody has begun to decode the response of the
    next command, and not lived to commit it; `probation_until` is where the log ended when this was
    restored.
    """

    number: int
    offset: int
    as_of: int
    states: dict[str, WalkState]
    starts: int = 0
    probation_until: int = 0

    @property
    def on_probation(self) -> bool:
        """Whether the next command may be what ended the process before."""
        return self.offset < self.probation_until

    def state(self, table: Table) -> WalkState:
        """Return a table's state; one never heard of is pending."""
        return self.states.get(table.key) or WalkState(site=table.site, kind=table.kind)


def commit_metadata(as_of: int, commands_id: str, slot: str, starts: int = 0) -> str:
    """Return what is committed beside an offset: the newest state that must be there with it.

    `slot` is the transactional id of who commits: its successor may have to end what it left open.
    `starts` counts how often the response of the command at this offset began to be decoded.
    """
    counted = f" starts={starts}" if starts else ""
    return f"as-of={as_of} commands={commands_id} by={slot}{counted}"


def read_metadata(metadata: str) -> dict[str, str]:
    """Return the pairs of what was committed beside an offset; words that are no pair are left."""
    return dict(word.split("=", 1) for word in metadata.split() if "=" in word)


class StateRestorer:
    """Restores states and start offsets of one same instant. The order is the proof.

    1. `committed` waits until no transaction is pending on the offsets; once our generation has
       begun, nobody older can add one.
    2. Only now the end of the states, markers or not: all that the offset stands for lies below.
    3. A reader of committed records reaches that end only when every marker below it is written.
    4. The offset's metadata says how new the newest state must be. An older one means that records
       were lost: stop. A newer one means that offsets were lost or reset: start at the newer.
    5. States and offsets name the topic of commands in which they count, and lie within it.
    6. Where this takes longer than 3 s, a slot that is gone may have died within a transaction,
       which the broker would end only after its time-out: it is ended, and the restore begun anew.

    `beat` is called between the stages: waiting for the broker is not standing still.
    """

    def __init__(
        self, settings: Settings, cluster: Cluster, commands_id: str, beat: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._commands_id = commands_id
        self._beat = beat

    def restore(self, consumer: GroupConsumer, partitions: list[int]) -> dict[int, Owned]:
        """Return what is known of each partition.

        Raises StaleStateError, ConfigurationError (a state or a topic that is not ours) and
        BrokerUnavailable (not readable in 45 s: a transaction of somebody else is still open).
        """
        try:
            return self._restore(consumer, partitions, _PATIENCE_SECONDS)
        except BrokerUnavailable:
            self._end_transactions_of_the_gone(consumer.group)
            return self._restore(consumer, partitions, _STAGE_SECONDS)

    def _restore(
        self, consumer: GroupConsumer, partitions: list[int], seconds: float
    ) -> dict[int, Owned]:
        self._beat()
        commands = [Partition(COMMANDS.name, number) for number in partitions]
        committed = consumer.committed(commands, seconds)
        self._beat()
        ends = self._cluster.ends(
            [Partition(WALKS.name, number) for number in partitions], pending_too=True
        )
        self._beat()
        found = {number: Owned(number, 0, 0, {}) for number in partitions}
        with LogReader(self._settings) as reader:
            for record in reader.read(ends, seconds=seconds):
                self._take_in(found[record.partition], record)
        self._beat()
        for partition, position in committed.items():
            self._settle(found[partition.number], partition, position)
        self._compare_with_the_log(found)
        self._beat()
        return found

    def _end_transactions_of_the_gone(self, group: str) -> None:
        """End the transactions of every slot that has committed for the group and left it.

        A member's are never touched: who is alive ends its own.
        """
        # A client that has outlived its broker's restart may ask for a group's coordinator in vain.
        cluster = Cluster(self._settings, seconds=_PATIENCE_SECONDS)
        try:
            gone = _slots_committed_by(cluster, group) - cluster.slots(group)
        except Unavailable as error:
            logger("walker").warning("predecessors_unknown", error=str(error))
            return
        for slot in sorted(gone):
            self._beat()
            end_transactions(self._settings, slot, self._beat)
            logger("walker").warning("transactions_ended", slot=slot)

    def _take_in(self, owned: Owned, record: Record) -> None:
        state, as_of = _state_in(record), int(record.headers.get(AS_OF_HEADER, b"-1"))
        commands_id = record.headers.get(COMMANDS_HEADER, b"").decode(errors="replace")
        if as_of < 0 or not commands_id:
            raise _foreign(record, "it does not say as of which command it holds")
        self._refuse_other_log(record.partition, commands_id)
        owned.states[state.table.key] = state
        owned.as_of = max(owned.as_of, as_of)

    def _settle(self, owned: Owned, partition: Partition, committed: Committed) -> None:
        noted = read_metadata(committed.metadata or "")
        if noted.get("commands"):
            self._refuse_other_log(partition.number, noted["commands"])
        as_of = noted.get("as-of", "0")
        if not as_of.isdecimal() or owned.as_of < int(as_of):
            raise StaleStateError(
                f"partition {partition.number}: newest state as of command {owned.as_of}, but the "
                f"group committed one as of {as_of}",
                remedy="records of the topic of walks were lost: restore the broker and try again",
            )
        owned.offset = max(committed.offset or 0, owned.as_of)
        starts = noted.get("starts", "0")
        if owned.offset == committed.offset and starts.isdecimal():
            owned.starts = int(starts)

    def _refuse_other_log(self, number: int, commands_id: str) -> None:
        if commands_id != self._commands_id:
            raise StaleStateError(
                f"partition {number}: the walks' states are of a topic of commands with id "
                f"{commands_id}, but this one has id {self._commands_id}",
                remedy=_OTHER_LOG_REMEDY,
            )

    def _compare_with_the_log(self, found: dict[int, Owned]) -> None:
        """Note where each partition's commands end now; refuse a state of beyond."""
        logged = self._cluster.ends(
            [Partition(COMMANDS.name, number) for number in found], pending_too=True
        )
        for partition, end in logged.items():
            found[partition.number].probation_until = end
            if (offset := found[partition.number].offset) > end:
                raise StaleStateError(
                    f"partition {partition.number}: the walks' states are as of command {offset}, "
                    f"but the topic of commands ends at {end}",
                    remedy=_OTHER_LOG_REMEDY,
                )


def _slots_committed_by(cluster: Cluster, group: str) -> set[str]:
    everything = [Partition(COMMANDS.name, number) for number in range(PARTITIONS)]
    positions = cluster.committed(group, everything).values()
    noted = (read_metadata(position.metadata or "").get("by") for position in positions)
    return {slot for slot in noted if slot is not None}


def _state_in(record: Record) -> WalkState:
    try:
        state = decode(record.type_header, record.value)
    except NewerMessageError as error:
        raise ConfigurationError(
            f"{record.topic} {record.partition}/{record.offset}: {error}",
            remedy="run the newer version of pagestream that wrote it",
        ) from error
    except UndecodableError as error:
        raise _foreign(record, str(error)) from error
    if not isinstance(state, WalkState):
        raise _foreign(record, f"a {type(state).__name__}")
    if record.key != state.table.key or state.table.partition != record.partition:
        raise _foreign(record, f"the state of {state.table.key} under key {record.key}")
    return state


def _foreign(record: Record, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{record.topic} {record.partition}/{record.offset} is no state of this walker: {what}",
        remedy="only the walker may write to this topic: find who did, and use another "
        "PAGESTREAM_TOPIC_PREFIX",
    )
