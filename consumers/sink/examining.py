"""Where the sink may go on in a partition: what its position, the log and Kafka's offset say.

The position in PostgreSQL is the truth, and Kafka's committed offset its mirror, with our mark. An
offset without the mark is an operator's reset, made with any Kafka tool. It can only have been made
while the group had no member, so it is looked for when partitions are assigned.

Each rule that forbids to go on raises ConfigurationError with the command that helps.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import msgspec

from consumers.batches import Position
from consumers.registry import CONSUMERS
from consumers.sink.positions import MARK, Step
from runtime.errors import ConfigurationError
from runtime.kafka.records import Committed, Partition, Record

TOMBSTONE_LIVES: Final[dict[str, timedelta]] = {
    consumer.topic.name: consumer.topic.tombstone_life
    for consumer in CONSUMERS
    if consumer.topic.tombstone_life is not None
}
"""How long deletions can be read, in each topic that has any."""


class Log(msgspec.Struct, frozen=True):
    """What a partition holds: from the offset `start` up to, exclusive, `end`."""

    start: int
    end: int


def skip_command(partition: Partition, offset: int | None = None) -> str:
    """Return the command line that lets the sink leave out a stretch of a partition."""
    command = f"pagestream sink skip --topic {partition.topic} --partition {partition.number}"
    return command if offset is None else f"{command} --to-offset {offset}"


def reset_command(partition: Partition, offset: int) -> str:
    """Return the command line that puts the sink to an offset of a partition."""
    return (
        f"pagestream sink reset --topic {partition.topic} --partition {partition.number} "
        f"--to-offset {offset}"
    )


def check_inside(partition: Partition, position: Position, log: Log) -> None:
    """Refuse a position outside of the log: records between the two are lost."""
    at = position.next_offset
    if at is None:
        return
    where = f"{partition.topic}/{partition.number}"
    if at > log.end:
        raise ConfigurationError(
            f"{where} ends at {log.end}, but was applied up to {at}: Kafka has lost records",
            remedy=f"restore the topic; or run `{skip_command(partition)}`, which goes on from "
            "the end and walks its tables anew",
        )
    if at < log.start:
        raise ConfigurationError(
            f"{where} begins at {log.start}, but was applied up to {at} only: Kafka has deleted "
            "records that were never applied",
            remedy=f"restore the topic; or run `{skip_command(partition)}`, which goes on from "
            "the beginning and walks its tables anew",
        )


def is_old(partition: Partition, position: Position, log: Log) -> bool:
    """Tell whether deletions beyond the position can have left the log, by its age alone."""
    life = TOMBSTONE_LIVES.get(partition.topic)
    at = position.next_offset
    return life is not None and at is not None and at < log.end and position.age >= life


def check_age(
    partition: Partition, position: Position, first_beyond: Record | None, now: float
) -> None:
    """Refuse an old position (see `is_old`) unless nothing can have left the log beyond it.

    That is so where the log shows no record beyond the position, and where the very next one is
    still there and young: all that follow are younger. `now` is in seconds since 1970.
    """
    life = TOMBSTONE_LIVES[partition.topic]
    if first_beyond is None:
        return
    is_young = now - first_beyond.timestamp / 1000 < life.total_seconds()
    if first_beyond.offset == position.next_offset and is_young:
        return
    raise ConfigurationError(
        f"{partition.topic}/{partition.number} was last applied to its end {position.age.days} "
        f"days ago, and deletions stay in the log for {life.days} days: some may be gone from it",
        remedy="fill a new database; or run "
        f"`{skip_command(partition)}`, which goes on from here and walks its tables anew",
    )


def wanted(partition: Partition, position: Position, log: Log, committed: Committed) -> Step | None:
    """Return the way back that an operator wants, None where there is nothing to obey.

    Raises ConfigurationError for a reset that leaves records out, or to where the log has none.
    """
    offset = committed.offset
    at = position.next_offset
    applied = log.start if at is None else at
    if offset is None or committed.metadata == MARK or offset == applied:
        return None
    where = f"{partition.topic}/{partition.number}"
    if offset > applied:
        raise ConfigurationError(
            f"the offset of {where} was reset forward to {offset}, and only the records up to "
            f"{applied} are applied",
            remedy=f"undo it with `{reset_command(partition, applied)}`; or leave them out with "
            f"`{skip_command(partition, offset)}`, which walks its tables anew",
        )
    if at is None:
        return None
    if offset < log.start:
        raise ConfigurationError(
            f"the offset of {where} was reset to {offset}, and the log begins at {log.start}",
            remedy=f"run `{reset_command(partition, log.start)}`",
        )
    return Step(at, offset, caught_up=at >= log.end)


def unmirrored(
    positions: Mapping[Partition, Position], committed: Mapping[Partition, Committed]
) -> dict[Partition, int]:
    """Return the positions that Kafka's offsets, all of them examined, do not show, or unmarked."""
    return {
        partition: position.next_offset
        for partition, position in positions.items()
        if position.next_offset is not None
        and committed[partition] != Committed(position.next_offset, MARK)
    }
