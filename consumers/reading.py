"""From a record to what it says: decoded, with its key and partition checked against its content.

Whatever is wrong here is the record's own fault (RecordError), except a message of a newer version
than this program's: that one stops it, because guessing would lose what the newer field says.
"""

from functools import lru_cache
from typing import Final

import msgspec

from consumers.identities import municipality_id
from runtime.errors import ConfigurationError, RecordError
from runtime.kafka.records import Record
from schemas.codec import NewerMessageError, UndecodableError, decode
from schemas.message import Message
from schemas.tables import Kind, Table, is_site
from schemas.topics import MUNICIPALITIES, PAGES

_TABLES_REMEMBERED: Final = 8192


class Address(msgspec.Struct, frozen=True):
    """Where one table belongs: its pages' keys, its partition and its municipality."""

    table: Table
    key_prefix: str
    partition: int
    municipality: int


@lru_cache(_TABLES_REMEMBERED)
def address(site: str, kind: Kind) -> Address:
    """Return where a table's records belong; RecordError for what cannot be a site."""
    if not is_site(site):
        raise RecordError("undecodable", f"{site!r} is not a site")
    table = Table(site, kind)
    return Address(table, table.record_key(""), table.partition, municipality_id(site))


def read_message(record: Record) -> Message:
    """Return the record's message. Raises RecordError, or ConfigurationError for a newer one."""
    try:
        return decode(record.type_header, record.value)
    except UndecodableError as error:
        raise RecordError("undecodable", str(error)) from error
    except NewerMessageError as error:
        raise ConfigurationError(
            f"{record.topic}/{record.partition} at offset {record.offset}: {error}",
            remedy="install the version of pagestream that wrote it, or a newer one",
        ) from error


def check_key(record: Record, expected: str) -> None:
    """Raise RecordError unless the record's key is the one that its content asks for.

    The key decides what compaction keeps: under another one the topic would forget the record, or
    keep one that was replaced.
    """
    if record.key != expected:
        raise RecordError("undecodable", f"the key is {record.key!r} where {expected!r} belongs")


def check_partition(record: Record, expected: int) -> None:
    """Raise RecordError unless the record is in its own partition: elsewhere it has no order."""
    if record.partition != expected:
        raise RecordError(
            "wrong_partition", f"in partition {record.partition} where {expected} belongs"
        )


class Named(msgspec.Struct, frozen=True):
    """What a record's key names, as far as it can be read."""

    site: str | None = None
    kind: Kind | None = None
    page_id: str | None = None


def what_key_names(record: Record) -> Named:
    """Return what the record's key names, for a record whose value says nothing."""
    key = record.key or ""
    try:
        if record.topic == PAGES.name:
            table, page_id = Table.parse_record_key(key)
            return Named(table.site, table.kind, page_id)
        if record.topic == MUNICIPALITIES.name:
            return Named(key if is_site(key) else None)
        return Named(*Table.parse(key))
    except ValueError:
        return Named()
