"""The sink's positions: kept in PostgreSQL with the rows, so that the two never disagree.

Kafka's committed offsets only mirror them. Moving a position is a compare-and-swap at the beginning
of each batch's transaction: it proves that no other sink has applied anything of these partitions
since the batch was read, and its row locks keep it so until the commit.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import psycopg

from consumers.batches import Position, Span
from consumers.queries import load
from consumers.sink.outages import Outage
from runtime.database.fates import door
from runtime.errors import ConfigurationError, DatabaseUnavailable, Retry, Unavailable
from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Partition

_QUERIES: Final = load(__file__)


class PositionMoved(Retry):
    """Another sink has applied part of the batch: read the positions again, and go on there."""


class Origin(msgspec.Struct, frozen=True):
    """Where offsets count: an offset means nothing in another cluster or in a topic made anew."""

    cluster_id: str
    topic_ids: dict[str, str]


def read(
    connection: psycopg.Connection, partitions: Iterable[Partition], origin: Origin
) -> dict[Partition, Position]:
    """Return the position of each partition.

    Raises ConfigurationError for a position that was taken in another cluster or topic.
    """
    positions = dict.fromkeys(partitions, Position())
    rows = connection.execute(
        _QUERIES["read"],
        {
            "topics": [partition.topic for partition in positions],
            "partitions": [partition.number for partition in positions],
        },
    )
    for topic, number, next_offset, applied_to, cluster_id, topic_id in rows:
        if (cluster_id, topic_id) != (origin.cluster_id, origin.topic_ids[topic]):
            raise ConfigurationError(
                f"the database was filled from another topic {topic} than this one: its positions "
                f"are of topic id {topic_id} in cluster {cluster_id}",
                remedy="point PAGESTREAM_KAFKA at that cluster, or PAGESTREAM_DATABASE at a "
                "new database, which is then filled from the beginning",
            )
        positions[Partition(topic, number)] = Position(next_offset, applied_to)
    return positions


class PositionReader:
    """Reads positions, over a connection of its own each time, waiting for both servers."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        cluster: Cluster,
        origin: Origin,
        outage: Outage,
    ) -> None:
        self._connect = connect
        self._cluster = cluster
        self._origin = origin
        self._outage = outage

    def read(
        self, partitions: Iterable[Partition], beat: Callable[[], None]
    ) -> dict[Partition, Position]:
        """Return the position of each partition; none at all when the process must stop.

        Raises ConfigurationError for a position that means nothing in these topics.
        """
        while True:
            beat()
            try:
                with door(), self._connect() as connection:
                    positions = read(connection, partitions, self._origin)
                beat()
                self._check_ends(positions)
            except (DatabaseUnavailable, Unavailable) as error:
                if not self._outage.wait(error):
                    return {}
            else:
                self._outage.over()
                return positions

    def check_origin(self) -> None:
        """Raise ConfigurationError when a topic was made anew: its offsets mean other records.

        A broker that does not answer is no reason: who reads from it will notice.
        """
        try:
            topic_ids = self._cluster.check_topics()
        except Unavailable:
            return
        for topic, topic_id in self._origin.topic_ids.items():
            if topic_ids[topic] != topic_id:
                raise ConfigurationError(
                    f"topic {topic} was made anew while the sink was running: it had id "
                    f"{topic_id} and has {topic_ids[topic]}",
                    remedy="fill a new database from what it has now",
                )

    def _check_ends(self, positions: dict[Partition, Position]) -> None:
        """Refuse positions beyond a log's end: reading would go on from its beginning."""
        ends = self._cluster.ends(positions, pending_too=True)
        for partition, position in positions.items():
            if position.next_offset is not None and position.next_offset > ends[partition]:
                raise ConfigurationError(
                    f"{partition.topic}/{partition.number} ends at {ends[partition]}, but was "
                    f"applied up to {position.next_offset}: Kafka has lost records",
                    remedy="restore the topic, or fill a new database from what it still has",
                )


def move(connection: psycopg.Connection, spans: dict[Partition, Span], origin: Origin) -> None:
    """Move the position of each partition over its span; PositionMoved unless all could be."""
    row = connection.execute(
        _QUERIES["move"],
        {
            "topics": [partition.topic for partition in spans],
            "partitions": [partition.number for partition in spans],
            "starts": [span.start.next_offset for span in spans.values()],
            "ends": [span.end for span in spans.values()],
            "topic_ids": [origin.topic_ids[partition.topic] for partition in spans],
            "cluster_id": origin.cluster_id,
        },
    ).fetchone()
    if row is None or row[0] != len(spans):
        raise PositionMoved("another sink has moved on in the partitions of this batch")
