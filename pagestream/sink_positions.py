"""Where the sink stands in every partition: in PostgreSQL, in Kafka's group, and in the log."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal

import msgspec

from consumers.batches import Position
from consumers.registry import CONSUMERS
from consumers.sink import positions
from consumers.sink.examining import Log, check_inside, is_old, wanted
from consumers.sink.gaps import Gap, all_gaps
from consumers.sink.positions import MARK, Origin
from migrations import GENERATION
from runtime.database.connections import Connection, connect_at_start
from runtime.database.fates import door
from runtime.database.schema import check_schema
from runtime.errors import ConfigurationError
from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Committed, Partition
from runtime.settings import Settings
from schemas.tables import PARTITIONS

SINK_TOPICS: Final = tuple(consumer.topic.name for consumer in CONSUMERS)
"""The topics that the sink reads."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the sink stands in one partition.

    `position` is the offset of the next record to be applied, as PostgreSQL has it (None: nothing
    was applied yet), and `applied_to` the highest that it ever was. `committed` is the offset that
    the group has in Kafka, set by the sink or, at its next start to be obeyed or refused, by an
    operator. The log begins at `log_start` and ends before `log_end`; `behind` counts the offsets
    from the position on, markers of transactions too. `note` says what the sink will make of it.
    """

    topic: str
    partition: int
    position: int | None
    applied_to: int | None
    committed: int | None
    committed_by: Literal["sink", "operator"] | None
    log_start: int
    log_end: int
    behind: int
    note: str | None = None


def sink_group(settings: Settings) -> str:
    """Return the name of the sink's group on the broker."""
    return CONSUMERS[0].group_name(settings)


@contextmanager
def opened_copy(settings: Settings) -> Iterator[Connection]:
    """Have a connection to the copy, its schema checked; raises a Stop when that cannot be."""
    with connect_at_start(settings, "cli", {"search_path": GENERATION}) as connection:
        check_schema(connection)
        with door():
            yield connection


def origin_of(cluster: Cluster) -> Origin:
    """Return where offsets count now; ConfigurationError unless all topics are as declared."""
    return Origin(topic_ids=cluster.check_topics(), cluster_id=cluster.cluster_id())


def partitions_of_sink(
    topics: Sequence[str] = SINK_TOPICS, numbers: Sequence[int] = range(PARTITIONS)
) -> list[Partition]:
    """Return the partitions that the sink reads, of these topics, with these numbers."""
    return [Partition(topic, number) for topic in topics for number in numbers]


def describe(
    settings: Settings, cluster: Cluster, partitions: Sequence[Partition]
) -> tuple[list[Standing], list[Gap]]:
    """Return where the sink stands in these partitions, and every gap that it was let leave out.

    Raises ConfigurationError for a database that was filled from other topics.
    """
    with opened_copy(settings) as connection:
        known = positions.read(connection, partitions, origin_of(cluster))
        gaps = all_gaps(connection)
    committed = cluster.committed(sink_group(settings), partitions)
    starts, ends = cluster.starts(partitions), cluster.ends(partitions)
    standings = [
        _standing(
            partition,
            known[partition],
            committed[partition],
            Log(starts[partition], ends[partition]),
        )
        for partition in partitions
    ]
    return standings, gaps


def _standing(partition: Partition, position: Position, committed: Committed, log: Log) -> Standing:
    at = position.next_offset
    who: Literal["sink", "operator"] = "sink" if committed.metadata == MARK else "operator"
    return Standing(
        topic=partition.topic,
        partition=partition.number,
        position=at,
        applied_to=None if at is None else position.counted_from,
        committed=committed.offset,
        committed_by=None if committed.offset is None else who,
        log_start=log.start,
        log_end=log.end,
        behind=max(0, log.end - max(at or 0, log.start)),
        note=_note(partition, position, committed, log),
    )


def _note(partition: Partition, position: Position, committed: Committed, log: Log) -> str | None:
    try:
        check_inside(partition, position, log)
        step = wanted(partition, position, log, committed)
    except ConfigurationError as error:
        return f"the sink will refuse to start: {error}"
    if step is not None:
        return f"at its next start the sink goes back to {step.target}"
    if is_old(partition, position, log):
        return f"last at its end {position.age.days} days ago: deletions may be gone from the log"
    at = position.next_offset
    if at is not None and at < position.counted_from:
        return f"applied again up to {position.counted_from}"
    return None
