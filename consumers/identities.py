"""The ids of municipalities and documents: hashes of their natural keys, so nobody hands them out.

They are the same in every generation of the copy, and whichever sink inserts first. With 64 bits,
two of ten million documents share an id with a probability of 3 in a million; such a page would
fail the deep check of its row hash.
"""

import hashlib
from functools import lru_cache

import msgspec

from schemas.tables import Kind


def key_hash(*natural_key: str | None) -> int:
    """Return the signed 64-bit hash of a natural key.

    The first eight bytes, big-endian, of the SHA-256 over the key's parts as a JSON array without
    spaces: no two keys are the same text. Golden vectors: `tests/unit/test_sink_identities.py`.
    """
    digest = hashlib.sha256(msgspec.json.encode(natural_key)).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@lru_cache(8192)
def municipality_id(site: str) -> int:
    """Return the id of a site's municipality."""
    return key_hash(site)


@lru_cache(16384)
def document_id(site: str, kind: Kind, meeting: str | None, date: str | None) -> int:
    """Return the id of the document that a page belongs to; `date` is the source's text."""
    return key_hash(site, kind, meeting, date)
