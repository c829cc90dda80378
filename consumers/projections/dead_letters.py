"""Projects `dead-letters`: what the walker could not publish as a page."""

from collections.abc import Sequence

import psycopg

from consumers import dead_letters
from consumers.batches import Item
from consumers.reading import address, check_partition, read_message
from runtime.errors import RecordError
from runtime.kafka.records import Record
from schemas.records import DeadLetter


def read(record: Record) -> DeadLetter:
    """Return the record's dead letter; RecordError where it is none, or not in its place."""
    message = read_message(record)
    if not isinstance(message, DeadLetter):
        raise RecordError("undecodable", f"{type(message).__name__} is no dead letter")
    if message.site is not None and message.kind is not None:
        check_partition(record, address(message.site, message.kind).partition)
    return message


def apply(
    connection: psycopg.Connection, items: Sequence[Item], _counted_from: object
) -> dict[str, int]:
    """Store what the walker found. What a sink found is a row already, made with its batch."""
    found = [
        (item.content, item.record)
        for item in items
        if isinstance(item.content, DeadLetter) and item.content.found_by == "walker"
    ]
    dead_letters.store(connection, found)
    return {}
