"""Bytes to messages and back: JSON, with the message's type and version in one Kafka header."""

import re
from typing import Final

import msgspec

from schemas import commands, events, records, walks
from schemas.message import Message

TYPE_HEADER: Final = "type"
"""The header that names type and version of every record, as `Page/1`."""

TOMBSTONE: Final = b"Tombstone/1"
"""The type header of a page's deletion: a record with a key and no value."""

WALK_HEADER: Final = "walk"
"""The header in which a tombstone, having no value, says which walk it is of."""

MESSAGE_TYPES: Final[tuple[type[Message], ...]] = (
    commands.AddSite,
    commands.ApproveVerdict,
    commands.CancelWalk,
    commands.ForceFull,
    commands.PauseWalk,
    commands.PrunePages,
    commands.RecordVerdict,
    commands.RefetchPages,
    commands.RejectVerdict,
    commands.RemoveSite,
    commands.ResumeWalk,
    commands.RetryWalk,
    commands.SetSchedule,
    commands.StartWalk,
    commands.StillWaiting,
    commands.TakeStep,
    events.CommandAnswered,
    events.RowsAmended,
    events.SourceListed,
    events.StepWalked,
    events.VerdictGiven,
    events.WalkEnded,
    events.WalkFailed,
    events.WalkStarted,
    records.DeadLetter,
    records.Municipality,
    records.Page,
    records.SiteRemoved,
    records.WalkBarrier,
    walks.WalkState,
)


class UndecodableError(ValueError):
    """A record that is not a message: no type that could be one, or a value that does not fit."""


class NewerMessageError(ValueError):
    """A message of a version or a type that this reader does not know: it must stop, not guess."""


_WELL_FORMED: Final = re.compile("([A-Z][A-Za-z0-9]{0,99})/([1-9][0-9]{0,39})")
_encode: Final = msgspec.json.Encoder().encode
_types: Final = {message.__name__: message for message in MESSAGE_TYPES}
_decoders: Final = {message: msgspec.json.Decoder(message) for message in MESSAGE_TYPES}
_headers: Final = {m: f"{m.__name__}/{m.version}".encode() for m in MESSAGE_TYPES}
_known: Final = {
    f"{name}/{version}".encode(): _decoders[message]
    for name, message in _types.items()
    for version in range(1, message.version + 1)
}


def encode(message: Message) -> bytes:
    """Return the message's value: JSON, without the fields that have their default."""
    return _encode(message)


def type_header(message: type[Message]) -> bytes:
    """Return the value of TYPE_HEADER for messages of this type, as the current version."""
    return _headers[message]


def decode(header: bytes | None, value: bytes | None) -> Message:
    """Return the message behind a record's type header and value, of this or any older version.

    Raises NewerMessageError for a type, or a version of one, that only a later program knows, and
    UndecodableError for whatever nobody can have meant.
    """
    decoder = _known.get(header) if header is not None else None
    if decoder is None:
        raise _unknown(header)
    if value is None:
        raise UndecodableError(f"{_show(header)} without a value")
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UndecodableError(f"not a {_show(header)}: {error}") from error


def _unknown(header: bytes | None) -> UndecodableError | NewerMessageError:
    if header is None:
        return UndecodableError(f"no {TYPE_HEADER!r} header")
    named = _WELL_FORMED.fullmatch(_show(header))
    if named is None:
        return UndecodableError(f"unknown message type {_show(header)[:100]!r}")
    if header == TOMBSTONE:
        return UndecodableError(f"{_show(header)} with a value")
    name, version = named.groups()
    known = _types.get(name)
    knows = "does not know this type" if known is None else f"knows it up to {known.version}"
    return NewerMessageError(f"{name} of version {version}: this program {knows}")


def _show(header: bytes | None) -> str:
    return "" if header is None else header.decode(errors="replace")
