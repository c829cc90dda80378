"""The walks' states and the sites, read from their compacted topics: no database is needed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from runtime.errors import BrokerUnavailable, ConfigurationError, Unavailable
from runtime.kafka.cluster import Cluster
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Partition, Record
from runtime.settings import Settings
from schemas.codec import NewerMessageError, UndecodableError, decode
from schemas.message import Message
from schemas.records import Municipality
from schemas.tables import PARTITIONS, Table
from schemas.topics import MUNICIPALITIES, WALKS, Topic
from schemas.walks import Status, WalkState

M = TypeVar("M", bound=Message)

OVER: Final[frozenset[Status]] = frozenset(
    {"failed", "cancelled", "completed", "unverified", "held", "removed"}
)
"""The statuses of a walk that takes no further step by itself."""

UNFINISHED: Final[frozenset[Status]] = frozenset({"failed", "cancelled", "paused", "removed"})
"""The statuses of a walk that stands still without having come to its end."""

_READ_SECONDS: Final = 30.0


def partitions_of(topic: Topic) -> list[Partition]:
    """Return every partition of a topic."""
    return [Partition(topic.name, number) for number in range(PARTITIONS)]


def known_sites(settings: Settings, cluster: Cluster) -> list[Municipality]:
    """Return what is known of every site that was added, by name."""
    ends = cluster.ends(partitions_of(MUNICIPALITIES))
    newest: dict[str, Municipality] = {}
    with LogReader(settings) as reader:
        for record in _read(reader, ends):
            municipality = expect(Municipality, record)
            newest[municipality.site] = municipality
    return [newest[site] for site in sorted(newest)]


def newest_states(settings: Settings, cluster: Cluster) -> dict[Table, WalkState]:
    """Return the newest state of every table that the walker knows, in the order of their names."""
    with following(settings, cluster) as follower:
        return dict(sorted(follower.states.items()))


@contextmanager
def following(settings: Settings, cluster: Cluster) -> Iterator["StateFollower"]:
    """Follow the walks' states from now on, for as long as the block runs."""
    with LogReader(settings) as reader:
        yield StateFollower(reader, cluster.ends(partitions_of(WALKS)))


class StateFollower:
    """The walks' states as of `ends`, and then as they change; `states` holds the newest."""

    def __init__(self, reader: LogReader, ends: dict[Partition, int]) -> None:
        self.states: dict[Table, WalkState] = {}
        self._reader = reader
        for record in _read(reader, ends):
            self._take(record)
        reader.follow(ends)

    def update(self, seconds: float) -> list[WalkState]:
        """Take in every change of the next `seconds`, and return each, in order per table.

        The newest is not enough: a walk's end and the beginning of its follow-up come together.
        """
        changes: list[WalkState] = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            item = self._reader.poll(left)
            if isinstance(item, Record):
                changes.append(self._take(item))
        return changes

    def _take(self, record: Record) -> WalkState:
        state = expect(WalkState, record)
        self.states[state.table] = state
        return state


def _read(reader: LogReader, ends: dict[Partition, int]) -> Iterator[Record]:
    try:
        yield from reader.read(ends, seconds=_READ_SECONDS)
    except BrokerUnavailable as error:
        raise Unavailable(
            str(error), remedy="an open transaction may hold readers back: try again in a minute"
        ) from error


def expect(kind: type[M], record: Record) -> M:
    """Return the message of this type in a record; ConfigurationError when it holds another."""
    where = f"{record.topic} {record.partition}/{record.offset}"
    try:
        message = decode(record.type_header, record.value)
    except NewerMessageError as error:
        raise ConfigurationError(
            f"{where}: {error}", remedy="run the newer version of pagestream that wrote it"
        ) from error
    except UndecodableError as error:
        raise ConfigurationError(f"{where}: {error}", remedy="find out who wrote it") from error
    if not isinstance(message, kind):
        raise ConfigurationError(
            f"{where}: a {type(message).__name__} where a {kind.__name__} belongs",
            remedy="find out who wrote it",
        )
    return message
