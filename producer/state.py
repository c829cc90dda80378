"""The states of the owned partitions: read back from the compacted topic `walks`, never guessed."""

import re
from typing import Final

import msgspec

from producer.publication import AS_OF_HEADER
from runtime.errors import ConfigurationError
from runtime.kafka.cluster import Cluster
from runtime.kafka.group import GroupConsumer
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Committed, Partition, Record
from runtime.settings import Settings
from schemas.codec import NewerMessageError, UndecodableError, decode
from schemas.tables import Table
from schemas.topics import COMMANDS, WALKS
from schemas.walks import WalkState

_RESTORE_SECONDS: Final = 45.0
_AS_OF: Final = re.compile(r"as-of=([0-9]+)")


class StaleStateError(ConfigurationError):
    """What was read back is older than what the group committed: going on would fork walks."""


class Owned(msgspec.Struct):
    """What this process knows of one partition, all of one same instant.

    `offset` is that of the next command to decide, `as_of` that of the command after the one which
    made the newest state.
    """

    offset: int
    as_of: int
    states: dict[str, WalkState]

    def state(self, table: Table) -> WalkState:
        """Return a table's state; one never heard of is pending."""
        return self.states.get(table.key) or WalkState(site=table.site, kind=table.kind)


def commit_metadata(as_of: int) -> str:
    """Return what is committed beside an offset: the newest state that must be there with it."""
    return f"as-of={as_of}"


def _as_of(committed: Committed) -> int:
    if not committed.metadata:
        return 0
    match = _AS_OF.fullmatch(committed.metadata)
    return int(match[1]) if match else 0


class StateRestorer:
    """Restores states and start offsets of one same instant. The order is the proof.

    1. `committed` waits until no transaction is pending on the offsets; once our generation has
       begun, nobody older can add one.
    2. Only now the end of the states, markers or not: all that the offset stands for lies below.
    3. A reader of committed records reaches that end only when every marker below it is written.
    4. The offset's metadata says how new the newest state must be. An older one means that records
       were lost: stop. A newer one means that offsets were lost or reset: start at the newer.
    """

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self._settings = settings
        self._cluster = cluster

    def restore(self, consumer: GroupConsumer, partitions: list[int]) -> dict[int, Owned]:
        """Return what is known of each partition.

        Raises StaleStateError, ConfigurationError (a state or a topic that is not ours) and
        BrokerUnavailable (not readable in 45 s: a transaction of somebody else is still open).
        """
        commands = [Partition(COMMANDS.name, number) for number in partitions]
        committed = consumer.committed(commands, _RESTORE_SECONDS)
        ends = self._cluster.ends(
            [Partition(WALKS.name, number) for number in partitions], pending_too=True
        )
        found = {number: Owned(0, 0, {}) for number in partitions}
        with LogReader(self._settings) as reader:
            for record in reader.read(ends, seconds=_RESTORE_SECONDS):
                _take_in(found[record.partition], record)
        for partition, position in committed.items():
            _settle(found[partition.number], partition, position)
        self._refuse_other_log(found)
        return found

    def _refuse_other_log(self, found: dict[int, Owned]) -> None:
        """Refuse states of commands that were never in this log: it was deleted and made anew."""
        logged = self._cluster.ends(
            [Partition(COMMANDS.name, number) for number in found], pending_too=True
        )
        for partition, end in logged.items():
            if (owned := found[partition.number]).offset > end:
                raise StaleStateError(
                    f"partition {partition.number}: the walks' states are as of command "
                    f"{owned.offset}, but the topic of commands ends at {end}",
                    remedy="topics of two installations are mixed: restore the topic of commands, "
                    "or start anew under another PAGESTREAM_TOPIC_PREFIX",
                )


def _take_in(owned: Owned, record: Record) -> None:
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
    owned.states[state.table.key] = state
    owned.as_of = max(owned.as_of, int(record.headers[AS_OF_HEADER]))


def _foreign(record: Record, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{record.topic} {record.partition}/{record.offset} is no state of this walker: {what}",
        remedy="only the walker may write to this topic: find who did, and use another "
        "PAGESTREAM_TOPIC_PREFIX",
    )


def _settle(owned: Owned, partition: Partition, committed: Committed) -> None:
    if owned.as_of < _as_of(committed):
        raise StaleStateError(
            f"partition {partition.number}: newest state as of command {owned.as_of}, but the "
            f"group committed one as of {_as_of(committed)}",
            remedy="records of the topic of walks were lost: restore the broker, then start again",
        )
    owned.offset = max(committed.offset or 0, owned.as_of)
