"""What goes through the door: records in and out, partitions, offsets."""

from typing import Final, NamedTuple

import msgspec

from schemas.codec import TOMBSTONE, TYPE_HEADER, encode, type_header
from schemas.message import Message
from schemas.topics import Topic

EARLIEST: Final = -2
"""Stands for the offset of a partition's oldest record."""


class Partition(NamedTuple):
    """One partition of a topic, by the topic's short name."""

    topic: str
    number: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as read. `timestamp` is in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: str | None
    value: bytes | None
    headers: dict[str, bytes]
    timestamp: int

    @property
    def type_header(self) -> bytes | None:
        """The header that names the message's type and version."""
        return self.headers.get(TYPE_HEADER)


class EndOfPartition(msgspec.Struct, frozen=True):
    """There is nothing to read beyond `offset`, for now."""

    topic: str
    partition: int
    offset: int


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A record to be written; the partition is always explicit."""

    topic: str
    partition: int
    key: str
    value: bytes | None
    headers: dict[str, bytes]


class Committed(msgspec.Struct, frozen=True):
    """A group's position: the next offset to be read (None: never committed), and its metadata."""

    offset: int | None
    metadata: str | None = None


def outgoing(
    topic: Topic,
    key: str,
    partition: int,
    message: Message,
    extra_headers: dict[str, bytes] | None = None,
) -> Outgoing:
    """Return the record of a message, with its type header."""
    headers = {TYPE_HEADER: type_header(type(message))}
    if extra_headers:
        headers |= extra_headers
    return Outgoing(topic.name, partition, key, encode(message), headers)


def tombstone(topic: Topic, key: str, partition: int) -> Outgoing:
    """Return the record that deletes a key."""
    return Outgoing(topic.name, partition, key, None, {TYPE_HEADER: TOMBSTONE})
