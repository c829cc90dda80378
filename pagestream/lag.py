"""How far each consumer group is behind, in records that a reader can see."""

from typing import Final

import msgspec

from consumers.registry import CONSUMERS
from pagestream.counting import Count, Stretch, records_in_each, total
from pagestream.walks import partitions_of
from producer.walker import group_name
from runtime.errors import PagestreamError
from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Partition
from runtime.settings import Settings
from schemas.topics import COMMANDS, Topic

NO_POSITION: Final = "the group has never committed a position"


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How far one group is behind in one topic.

    `partitions` holds those that are behind. `records` is None when it is unknown, and `unknown`
    then says why. `members` counts the group's running processes.
    """

    group: str
    topic: str
    members: int
    records: Count | None
    partitions: dict[int, Count]
    unknown: str | None = None


def lags(settings: Settings, cluster: Cluster) -> list[Lag]:
    """Return the lag of every group in every topic that it reads."""
    pairs: list[tuple[str, Topic]] = [(group_name(settings), COMMANDS)]
    pairs += [(consumer.group_name(settings), consumer.topic) for consumer in CONSUMERS]
    return [_lag(settings, cluster, group, topic) for group, topic in pairs]


def _lag(settings: Settings, cluster: Cluster, group: str, topic: Topic) -> Lag:
    members = 0
    try:
        members = cluster.members(group)
        left = _left(cluster, group, topic)
        if left is None:
            return _unknown(group, topic, members, NO_POSITION)
        counts = records_in_each(settings, left)
        behind = {p.number: count for p, count in sorted(counts.items()) if count.records}
        return Lag(
            group=group,
            topic=topic.name,
            members=members,
            records=total(counts),
            partitions=behind,
        )
    except PagestreamError as error:
        return _unknown(group, topic, members, str(error))


def _unknown(group: str, topic: Topic, members: int, why: str) -> Lag:
    return Lag(
        group=group, topic=topic.name, members=members, records=None, partitions={}, unknown=why
    )


def _left(cluster: Cluster, group: str, topic: Topic) -> dict[Partition, Stretch] | None:
    """Return what each partition still holds for the group; None when it has no position at all.

    A partition without a position is read from its beginning, as a member would.
    """
    partitions = partitions_of(topic)
    committed = cluster.committed(group, partitions)
    # After the positions, so that no record can be counted that was read meanwhile.
    starts, ends = cluster.starts(partitions), cluster.ends(partitions)
    known = {p: position.offset for p, position in committed.items() if position.offset is not None}
    if not known and any(ends[partition] > starts[partition] for partition in partitions):
        return None
    return {
        partition: Stretch(max(known.get(partition, 0), starts[partition]), ends[partition])
        for partition in partitions
    }
