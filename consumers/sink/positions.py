"""The sink's positions: kept in PostgreSQL with the rows, so that the two never disagree.

Kafka's committed offsets only mirror them. Moving a position is a compare-and-swap at the beginning
of each batch's transaction: it proves that no other sink has applied anything of these partitions
since the batch was read, and its row locks keep it so until the commit. Putting one back, because
an operator has asked for it, is a compare-and-swap too.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import psycopg

from consumers.batches import Position, Span
from consumers.queries import load
from migrations import GENERATION
from runtime.errors import ConfigurationError, Retry
from runtime.kafka.records import Partition

MARK: Final = f"applied by the sink of {GENERATION}"
"""The metadata of every offset that a sink commits: one without it is an operator's reset."""

_QUERIES: Final = load(__file__)


class PositionMoved(Retry):
    """Another sink has applied part of the batch: read the positions again, and go on there."""


class Origin(msgspec.Struct, frozen=True):
    """Where offsets count: an offset means nothing in another cluster or in a topic made anew."""

    cluster_id: str
    topic_ids: dict[str, str]


class Step(msgspec.Struct, frozen=True):
    """A position's way back: from where it stands to where an operator wants it.

    `caught_up` says that nothing lay beyond it when this was decided.
    """

    start: int
    target: int
    caught_up: bool


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
    for topic, number, next_offset, applied_to, age, cluster_id, topic_id in rows:
        if (cluster_id, topic_id) != (origin.cluster_id, origin.topic_ids[topic]):
            raise ConfigurationError(
                f"the database was filled from another topic {topic} than this one: its positions "
                f"are of topic id {topic_id} in cluster {cluster_id}",
                remedy="point PAGESTREAM_KAFKA at that cluster; or point PAGESTREAM_DATABASE at a "
                "new database and run `pagestream migrate`: the sink fills it from the beginning",
            )
        positions[Partition(topic, number)] = Position(next_offset, applied_to, age)
    return positions


def move(connection: psycopg.Connection, spans: dict[Partition, Span], origin: Origin) -> None:
    """Move the position of each partition over its span; PositionMoved unless all could be."""
    swapped = connection.execute(
        _QUERIES["move"],
        {
            "topics": [partition.topic for partition in spans],
            "partitions": [partition.number for partition in spans],
            "starts": [span.start.next_offset for span in spans.values()],
            "ends": [span.end for span in spans.values()],
            "caught_up": [span.caught_up for span in spans.values()],
            "topic_ids": [origin.topic_ids[partition.topic] for partition in spans],
            "cluster_id": origin.cluster_id,
        },
    ).fetchone()
    _check_all(swapped, len(spans))


def go_back(connection: psycopg.Connection, steps: Mapping[Partition, Step]) -> None:
    """Put positions back, in one transaction; PositionMoved unless all could be.

    Records are applied again from there, and change no figure below where they were counted.
    """
    with connection.transaction():
        swapped = connection.execute(
            _QUERIES["go_back"],
            {
                "topics": [partition.topic for partition in steps],
                "partitions": [partition.number for partition in steps],
                "from_offsets": [step.start for step in steps.values()],
                "to_offsets": [step.target for step in steps.values()],
                "caught_up": [step.caught_up for step in steps.values()],
            },
        ).fetchone()
        _check_all(swapped, len(steps))


def _check_all(swapped: tuple[Any, ...] | None, expected: int) -> None:
    if swapped is None or swapped[0] != expected:
        raise PositionMoved("another sink has moved on in these partitions")
