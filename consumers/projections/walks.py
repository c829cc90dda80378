"""Projects `walks`: the newest state of each table and of each walk, for whoever asks in SQL."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import psycopg

from consumers.batches import Item
from consumers.queries import load
from consumers.reading import address, check_key, check_partition, read_message
from consumers.texts import storable
from runtime.errors import RecordError
from runtime.kafka.records import Record
from schemas.tables import Table
from schemas.walks import Position, Schedule, Status, WalkState

_QUERIES: Final = load(__file__)
_NOTHING_DUE: Final = Position(phase="pages")
_SETTINGS_OWN: Final = Schedule()
_NO_WALKS_OWN: Final[frozenset[Status]] = frozenset({"pending", "removed"})
"""The statuses of a table that say nothing of its newest walk."""

NOT_TOLD: Final = frozenset(
    {"sound", "retry_seconds", "full_ended", "held_rows", "unsettled", "recent"}
)
"""The fields of a state that are the walker's alone."""

_TOLD_IN_PARTS: Final = frozenset({"window", "position", "schedule", "full_forced_after", "secret"})


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
    """Write the newest state of each table, and of each walk, in key order."""
    states = [item.content for item in items if isinstance(item.content, WalkState)]
    newest = {state.table: state for state in states}
    for table in sorted(newest):
        connection.execute(_QUERIES["keep"], row(newest[table]))
    _keep_jobs(connection, states)
    return {}


def _keep_jobs(connection: psycopg.Connection, states: Iterable[WalkState]) -> None:
    """Write the newest state of each walk, and end those whose table was removed under them."""
    newest: dict[tuple[Table, int], WalkState] = {}
    removed: dict[tuple[Table, int], WalkState] = {}
    for state in states:
        if state.walk > 0 and state.status not in _NO_WALKS_OWN:
            newest[state.table, state.walk] = state
        elif state.status == "removed":
            removed[state.table, state.walk] = state
    for job in sorted(newest):
        connection.execute(_QUERIES["keep_job"], job_row(newest[job]))
    for job in sorted(removed):
        connection.execute(_QUERIES["remove_job"], row(removed[job]))


def row(state: WalkState) -> dict[str, object]:
    """Return a state by column of `pagestream_log.walk`."""
    position = state.position or _NOTHING_DUE
    schedule = state.schedule or _SETTINGS_OWN
    follow_up = state.follow_up
    window_from, window_to = state.window or (None, None)
    fields = {
        name: value
        for name, value in msgspec.structs.asdict(state).items()
        if name not in NOT_TOLD | _TOLD_IN_PARTS
    }
    return {
        **fields,
        "window_from": window_from,
        "window_to": window_to,
        "phase": state.position and position.phase,
        "cursor": _text(position.cursor),
        "after": _text(position.after),
        "listed_by": position.listed_by,
        "repairs": len(state.repairs),
        "follow_up": follow_up and follow_up.mode,
        "follow_up_rows": follow_up and follow_up.rows,
        "own_schedule": state.schedule is not None,
        "full_every": schedule.full_every,
        "incremental_every": schedule.incremental_every,
        "verify_every": schedule.verify_every,
        "full_forced": state.full_forced,
        "secret_name": _text(state.secret),
        "error": _text(state.error),
        "last_error": _text(state.last_error),
    }


def job_row(state: WalkState) -> dict[str, object]:
    """Return the newest state of a walk by column of `pagestream_log.walk_job`.

    Only a walk that was itself judged complete is verified: a table stays so through later ones.
    """
    judged = state.status == "completed" and state.verdict != "absent"
    return row(state) | {"verified_at": state.verified_at if judged else None}


def _text(value: str | None) -> str | None:
    return None if value is None else storable(value)
