"""Gaps: the stretches of the topics that an operator lets the sink leave out, each recorded."""

from datetime import datetime
from typing import Final

import msgspec
import psycopg

from consumers.queries import load
from consumers.sink.positions import Origin, PositionMoved
from migrations import GENERATION

_QUERIES: Final = load(__file__)


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """One gap. `from_offset` is None where nothing had been applied.

    `walked` names the tables, as site/kind, for which a full walk was asked because of it.
    """

    topic: str
    partition: int
    from_offset: int | None
    to_offset: int
    reason: str
    walked: tuple[str, ...]
    skipped_by: str
    skipped_at: datetime | None = None
    generation: str = GENERATION


def leave_out(connection: psycopg.Connection, gap: Gap, origin: Origin) -> None:
    """Move a position over a gap, by compare-and-swap, and record it: one transaction of yours.

    Raises PositionMoved when it no longer stands where the gap begins.
    """
    given = msgspec.structs.asdict(gap) | {
        "walked": list(gap.walked),
        "cluster_id": origin.cluster_id,
        "topic_id": origin.topic_ids[gap.topic],
    }
    query = _QUERIES["begin"] if gap.from_offset is None else _QUERIES["skip"]
    if connection.execute(query, given).rowcount != 1:
        raise PositionMoved(f"a sink has moved on in {gap.topic}/{gap.partition}")
    connection.execute(_QUERIES["record"], given)


def all_gaps(connection: psycopg.Connection) -> list[Gap]:
    """Return every gap that was recorded, the oldest first."""
    rows = connection.execute(_QUERIES["all"])
    return [
        Gap(
            generation=row[0],
            topic=row[1],
            partition=row[2],
            from_offset=row[3],
            to_offset=row[4],
            reason=row[5],
            walked=tuple(row[6]),
            skipped_by=row[7],
            skipped_at=row[8],
        )
        for row in rows
    ]
