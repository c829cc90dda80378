"""Putting the sink to an earlier offset, as Kafka's own tools do, and waiting until one may."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from consumers.sink import positions
from consumers.sink.examining import reset_command, skip_command
from consumers.sink.positions import MARK
from pagestream.sink_positions import opened_copy, origin_of, sink_group
from runtime.errors import ConfigurationError, OwnedElsewhere
from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Committed, Partition
from runtime.settings import Settings

# A sink that was stopped stays a member until its session is over, so that it can come back.
_SESSION_SECONDS: Final = 10.0
_LOOK_AGAIN_SECONDS: Final = 0.2


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    """One partition's reset: the sink stands at `position`, and goes on from `offset`."""

    topic: str
    partition: int
    position: int
    offset: int


Targets = dict[Partition, int]
FindTargets = Callable[[Cluster, Targets], Targets]
"""Returns, from where the sink stands in each partition, where it is to go back to."""


def to_offset(offset: int) -> FindTargets:
    """Return what finds one and the same offset."""
    return lambda _cluster, standing: dict.fromkeys(standing, offset)


def to_earliest() -> FindTargets:
    """Return what finds the oldest record of each partition."""
    return lambda cluster, standing: cluster.starts(standing)


def to_time(at: datetime) -> FindTargets:
    """Return what finds the first record of each partition from a time on."""

    def find(cluster: Cluster, standing: Targets) -> Targets:
        found = cluster.offsets_at(standing, at)
        # Where the sink is not so far yet it will come upon them anyway.
        return {
            partition: place if (offset := found[partition]) is None else min(offset, place)
            for partition, place in standing.items()
        }

    return find


def reset(
    settings: Settings, cluster: Cluster, partitions: Sequence[Partition], find: FindTargets
) -> list[Reset]:
    """Set the offsets of the sink's group back; return those that were, to be obeyed at its start.

    Where the sink stands already, only another reset that still waits is taken back. Raises
    OwnedElsewhere while a sink is at work, ConfigurationError for an offset that it would refuse.
    """
    wait_until_stopped(settings, cluster)
    with opened_copy(settings) as connection:
        known = positions.read(connection, partitions, origin_of(cluster))
    starts = cluster.starts(partitions)
    standing = {
        partition: starts[partition] if position.next_offset is None else position.next_offset
        for partition, position in known.items()
    }
    targets = find(cluster, standing)
    for partition, offset in targets.items():
        _check_target(partition, offset, starts[partition], standing[partition])
    waiting = _waiting(cluster.committed(sink_group(settings), partitions))
    resets = [
        Reset(topic=place.topic, partition=place.number, position=standing[place], offset=offset)
        for place, offset in targets.items()
        if offset < standing[place] or waiting.get(place, offset) != offset
    ]
    if resets:
        cluster.set_committed(
            sink_group(settings),
            {Partition(one.topic, one.partition): Committed(one.offset) for one in resets},
        )
    return resets


def _check_target(partition: Partition, offset: int, start: int, applied: int) -> None:
    where = f"{partition.topic}/{partition.number}"
    if offset > applied:
        raise ConfigurationError(
            f"{where} is applied up to {applied} only: from {offset} on, records would be missing",
            remedy=f"to leave them out, run `{skip_command(partition, offset)}`",
        )
    if offset < start:
        raise ConfigurationError(
            f"{where} begins at {start}: there is no record from {offset} on",
            remedy=f"run `{reset_command(partition, start)}`",
        )


def _waiting(committed: dict[Partition, Committed]) -> Targets:
    """Return the resets that no sink has examined yet."""
    return {
        partition: position.offset
        for partition, position in committed.items()
        if position.offset is not None and position.metadata != MARK
    }


def wait_until_stopped(settings: Settings, cluster: Cluster) -> None:
    """Wait until no sink is a member of the group; OwnedElsewhere when one goes on."""
    group = sink_group(settings)
    deadline = time.monotonic() + _SESSION_SECONDS
    while members := cluster.members(group):
        if time.monotonic() > deadline:
            raise OwnedElsewhere(
                f"{members} of the group {group} at work, and Kafka resets no group that has "
                "members",
                remedy="stop the sinks first, and their supervisor, which would start them again",
            )
        time.sleep(_LOOK_AGAIN_SECONDS)
