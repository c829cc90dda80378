"""What comes in on `commands`: a command in its own partition, or a dead letter."""

import hashlib
from datetime import UTC, datetime
from typing import Final

import msgspec

from runtime.errors import ConfigurationError
from runtime.kafka.records import Record
from schemas.codec import NewerMessageError, UndecodableError, decode
from schemas.commands import Command
from schemas.records import DeadLetter, DeadLetterReason
from schemas.tables import is_site

_MOST_BYTES_KEPT: Final = 1_000_000


class Unreadable(msgspec.Struct, frozen=True):
    """A record that is no command of its partition, as the dead letter that it becomes."""

    letter: DeadLetter


def read_command(record: Record) -> Command | Unreadable:
    """Return the command in a record, or why there is none.

    Raises ConfigurationError for a command of a newer version: it must not be passed over.
    """
    try:
        command = decode(record.type_header, record.value)
    except NewerMessageError as error:
        raise ConfigurationError(
            f"{record.topic} {record.partition}/{record.offset}: {error}",
            remedy="run the newer version of pagestream, or stop who sends it",
        ) from error
    except UndecodableError as error:
        return Unreadable(_letter(record, "undecodable", str(error)))
    if not isinstance(command, Command):
        return Unreadable(_letter(record, "undecodable", f"a {type(command).__name__}"))
    if not is_site(command.site):
        return Unreadable(_letter(record, "undecodable", f"{command.site!r} is not a site"))
    if record.key != command.table.key:
        message = f"a command for {command.table.key} under key {record.key!r}"
        return Unreadable(_letter(record, "undecodable", message))
    if record.partition != command.table.partition:
        message = f"{command.table.key} belongs in partition {command.table.partition}"
        return Unreadable(_letter(record, "wrong_partition", message))
    return command


def _letter(record: Record, reason: DeadLetterReason, message: str) -> DeadLetter:
    original = record.value or b""
    digest = hashlib.sha256(original).hexdigest()
    return DeadLetter(
        identity=digest,
        reason=reason,
        message=message[:1000],
        original=original[:_MOST_BYTES_KEPT],
        original_length=len(original),
        original_digest=digest,
        headers={
            name: value.decode(errors="backslashreplace") for name, value in record.headers.items()
        },
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        found_by="walker",
        at=datetime.now(UTC),
    )
