"""Projects `walks`: the newest state of each table's walk, for whoever asks in SQL."""

from collections.abc import Sequence
from typing import Final

import msgspec
import psycopg

from consumers.batches import Item
from consumers.queries import load
from consumers.reading import address, check_key, check_partition, read_message
from runtime.errors import RecordError
from runtime.kafka.records import Record
from schemas.walks import WalkState

_QUERIES: Final = load(__file__)


def read(record: Record) -> WalkState:
    """Return the record's state; RecordError where it is none, or not in its place."""
    message = read_message(record)
    if not isinstance(message, WalkState):
        raise RecordError("undecodable", f"{type(message).__name__} is no state of a walk")
    place = address(message.site, message.kind)
    check_key(record, place.table.key)
    check_partition(record, place.partition)
    return message


def apply(
    connection: psycopg.Connection, items: Sequence[Item], _counted_from: object
) -> dict[str, int]:
    """Write the newest state of each table, in key order."""
    newest = {
        item.content.table: item.content for item in items if isinstance(item.content, WalkState)
    }
    for table in sorted(newest):
        connection.execute(_QUERIES["keep"], _row(newest[table]))
    return {}


def _row(state: WalkState) -> dict[str, object]:
    position, follow_up = state.position, state.follow_up
    return {
        **msgspec.structs.asdict(state),
        "phase": position and position.phase,
        "cursor": position and position.cursor,
        "after": position and position.after,
        "follow_up": follow_up and follow_up.mode,
        "follow_up_rows": follow_up and follow_up.rows,
    }
