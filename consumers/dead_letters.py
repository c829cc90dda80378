"""Dead letters: records that cannot be stored, kept with their bytes and the reason.

A dead letter is a row written in the transaction of the batch that it was taken out of. Its
identity is the page's id, or the digest of its bytes where there is none, so that walking over the
same row again does not make a second one.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import msgspec
import psycopg
from psycopg.types.json import Json

from consumers.batches import Rejected
from consumers.queries import load
from consumers.reading import what_key_names
from consumers.texts import storable
from runtime.errors import ConfigurationError
from runtime.kafka.records import Record
from schemas.records import DeadLetter, DeadLetterReason, Page

MOST_ORIGINAL_BYTES: Final = 1_000_000
"""How much of a record at fault is kept."""

MOST_ID_CHARACTERS: Final = 200
"""The longest id that a page can have."""

_QUERIES: Final = load(__file__)


class DeadLetterPolicy(msgspec.Struct, frozen=True):
    """How many records of a topic may be found at fault for the first time `within` a time.

    Beyond that it is not the records: the sink stops, and nothing more is set aside, until a
    person has looked or the time has passed.
    """

    most: int
    within: timedelta


class FloodError(ConfigurationError):
    """More records of a topic are at fault than the policy allows."""


def from_record(record: Record, rejected: Rejected) -> DeadLetter:
    """Return the dead letter of a record that this sink found at fault."""
    value = record.value or b""
    digest = hashlib.sha256(value).hexdigest()
    named = what_key_names(record)
    # An id longer than any page's own would not fit an index: it is in the original.
    fits = named.page_id is not None and len(named.page_id) <= MOST_ID_CHARACTERS
    page_id = named.page_id if fits else None
    page = rejected.message if isinstance(rejected.message, Page) else None
    return DeadLetter(
        site=named.site,
        kind=named.kind,
        identity=digest if page_id is None else page_id,
        page_id=page_id,
        reason=cast("DeadLetterReason", rejected.error.reason),
        message=str(rejected.error),
        sqlstate=rejected.error.sqlstate,
        original=value[:MOST_ORIGINAL_BYTES],
        original_length=len(value),
        original_digest=digest,
        headers={name: text.decode(errors="replace") for name, text in record.headers.items()},
        walk=page.walk if page else None,
        step=page.step if page else None,
        found_by="sink",
        at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
    )


def store(connection: psycopg.Connection, found: Sequence[tuple[DeadLetter, Record]]) -> None:
    """Store dead letters, each with the record that brought it, in the order given.

    One by one: the driver's `executemany` leaves the transaction in a state in which the server's
    deadline for idle ones does not run, so that a process frozen there would hold its locks.
    """
    for pair in found:
        connection.execute(_QUERIES["store"], _row(*pair))


def check_flood(connection: psycopg.Connection, topic: str, policy: DeadLetterPolicy) -> None:
    """Raise FloodError when more of a topic was found at fault than the policy allows."""
    row = connection.execute(
        _QUERIES["count_recent"], {"topic": topic, "within": policy.within}
    ).fetchone()
    if row is not None and row[0] > policy.most:
        raise FloodError(
            f"more than {policy.most} records of {topic} could not be stored within "
            f"{policy.within}: something else must be wrong",
            remedy="look at the newest in pagestream.dead_letter; the sink goes on once the time "
            "has passed",
        )


def _row(letter: DeadLetter, record: Record) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(letter),
        "identity": storable(letter.identity),
        "page_id": letter.page_id and storable(letter.page_id),
        "message": storable(letter.message),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "headers": Json(letter.headers),
    }
