"""The row hash: one 64-bit number that says whether two copies of a page are the same."""

import hashlib
from typing import Final

HASH_VERSION: Final = 1
"""Which formula made a row hash: stored beside it, so that a new one never passes for damage."""

HASHED_FIELDS: Final = (
    "id",
    "meeting",
    "date",
    "page",
    "text",
    "page_image",
    "entities",
    "votes",
)
"""The fields under the hash, in order. Site and kind are the row's address, not its content."""

FIELD_SEPARATOR: Final = "\x1f"
NULL_FIELD: Final = "\x1e"


def row_hash(fields: tuple[str | None, ...]) -> int:
    r"""Return the signed 64-bit hash of a row's fields, given in the order of HASHED_FIELDS.

    The first eight bytes, big-endian, of the SHA-256 over the fields' UTF-8 text joined by U+001F,
    with U+001E standing for NULL, so that NULL and the empty text differ. SQL can say the same:
    `('x' || left(encode(sha256(convert_to(concat_ws(E'\x1f', ...), 'UTF8')), 'hex'), 16))`
    `::bit(64)::bigint`. Golden vectors: `examples/row_hashes.json`.
    """
    return hash_of(hashed_text(fields).encode())


def hashed_text(fields: tuple[str | None, ...]) -> str:
    """Return the text under the hash: the fields, told apart."""
    return FIELD_SEPARATOR.join([NULL_FIELD if field is None else field for field in fields])


def hash_of(content: bytes) -> int:
    """Return the hash of a `hashed_text`, given as UTF-8."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big", signed=True)
