"""Letting the sink leave out what it cannot read, or shall not: recorded, and walked anew.

1. Wait until no sink is a member of the group.
2. Find out what there is to be left out: what the sink stops at, or what the operator names.
3. In one database transaction: move the position over it by compare-and-swap, and record the gap;
   log the full walks; commit. If the walks cannot be logged nothing is left out; if the commit
   fails they were asked for in vain.
4. Commit the new position to Kafka with the sink's mark: this ends a forward reset.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from consumers.batches import Position
from consumers.sink import positions
from consumers.sink.examining import Log, is_old
from consumers.sink.gaps import Gap, leave_out
from consumers.sink.positions import MARK, PositionMoved
from pagestream.requests import addressed, send, sender
from pagestream.resetting import wait_until_stopped
from pagestream.sink_positions import opened_copy, origin_of, sink_group
from pagestream.walks import newest_states
from runtime.database.connections import Connection
from runtime.errors import NotDone
from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Committed, Partition
from runtime.settings import Settings
from schemas.commands import StartWalk
from schemas.tables import KINDS, Table
from schemas.topics import DEAD_LETTERS, MUNICIPALITIES, PAGES, WALKS

CONSEQUENCES: Final = {
    PAGES.name: "Pages of the gap come back with the full walks. Pages that it deleted stay.",
    WALKS.name: "No page is missing. pagestream.walk shows the tables as they were before the gap, "
    "until each one's next walk; `pagestream walks` is right at once.",
    MUNICIPALITIES.name: "No page is missing. Sites of the gap keep what was known of them, or a "
    "placeholder; `pagestream sites add` writes it again.",
    DEAD_LETTERS.name: "No page is missing. Rows that the walker rejected in the gap are not in "
    "pagestream.dead_letter until a walk comes upon them again.",
}
"""What follows from a gap, by topic."""

_STORED_TABLES: Final = """
    SELECT DISTINCT site.subdomain, document.kind
    FROM meeting_document AS document
    JOIN municipality AS site ON site.id = document.municipality_id
"""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """What was left out, and the stored tables that no walker knows: nothing walks those."""

    gap: Gap
    unknown: tuple[str, ...]


def skip(settings: Settings, cluster: Cluster, partition: Partition, to: int | None) -> Skipped:
    """Let the sink leave out a stretch of a partition, up to the offset `to` where one is given.

    Raises NotDone when there is nothing to leave out, OwnedElsewhere while a sink is at work.
    """
    wait_until_stopped(settings, cluster)
    origin = origin_of(cluster)
    walked = _tables_walked(settings, cluster, partition) if partition.topic == PAGES.name else []
    with opened_copy(settings) as connection, connection.transaction():
        position = positions.read(connection, [partition], origin)[partition]
        gap = _gap(partition, position, _places(settings, cluster, partition), to, walked)
        try:
            leave_out(connection, gap, origin)
        except PositionMoved as error:
            raise NotDone(f"nothing was skipped: {error}", remedy="look again") from error
        unknown = _unknown(connection, partition, walked) if walked else ()
        send(settings, [_full_walk(settings, table) for table in walked])
    cluster.set_committed(sink_group(settings), {partition: Committed(gap.to_offset, MARK)})
    return Skipped(gap=gap, unknown=tuple(unknown))


def _tables_walked(settings: Settings, cluster: Cluster, partition: Partition) -> list[Table]:
    """Return every table of the partition that has ever been walked, and was not removed."""
    return [
        table
        for table, state in newest_states(settings, cluster).items()
        if table.partition == partition.number and state.walk and state.status != "removed"
    ]


def _unknown(connection: Connection, partition: Partition, walked: Iterable[Table]) -> list[str]:
    stored = {
        Table(site, kind)
        for site, word in connection.execute(_STORED_TABLES)
        for kind in KINDS
        if kind == word
    }
    mine = {table for table in stored if table.partition == partition.number}
    return sorted(table.key for table in mine - set(walked))


def _full_walk(settings: Settings, table: Table) -> StartWalk:
    return StartWalk(**addressed(table), mode="full", rows=settings.rows_per_response)


def _places(settings: Settings, cluster: Cluster, partition: Partition) -> tuple[Log, Committed]:
    log = Log(cluster.starts([partition])[partition], cluster.ends([partition])[partition])
    return log, cluster.committed(sink_group(settings), [partition])[partition]


def _gap(
    partition: Partition,
    position: Position,
    places: tuple[Log, Committed],
    to: int | None,
    walked: Iterable[Table],
) -> Gap:
    log, committed = places
    at = position.next_offset
    target, reason = (
        _what_stops_it(partition, position, log, committed) if to is None else (to, "asked for")
    )
    applied = log.start if at is None else at
    if to is not None and not applied < to <= log.end:
        raise NotDone(
            f"{partition.topic}/{partition.number} is applied up to {applied} and ends at "
            f"{log.end}: no record between would be left out",
            remedy="name an offset between the two; to go back there is `pagestream sink reset`",
        )
    return Gap(
        topic=partition.topic,
        partition=partition.number,
        from_offset=at,
        to_offset=target,
        reason=reason,
        walked=tuple(table.key for table in walked),
        skipped_by=sender(),
    )


def _what_stops_it(
    partition: Partition, position: Position, log: Log, committed: Committed
) -> tuple[int, str]:
    """Return where the sink can go on, and why it cannot from where it stands."""
    at = position.next_offset
    applied = log.start if at is None else at
    if applied > log.end:
        return log.end, "records were lost from the end of the log"
    if applied < log.start:
        return log.start, "records were deleted before they were applied"
    if committed.metadata != MARK and applied < (committed.offset or 0) <= log.end:
        return committed.offset or 0, "the offset was reset forward"
    if is_old(partition, position, log):
        return applied, "deletions may have left the log before they were applied"
    raise NotDone(
        f"the sink can go on in {partition.topic}/{partition.number} from {applied}: there is "
        "nothing that it would have to leave out",
        remedy="to leave out records all the same, name the offset: `--to-offset`",
    )
