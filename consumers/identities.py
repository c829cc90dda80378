"""The ids of municipalities and documents: hashes of their natural keys, so nobody hands them out.

They are the same in every generation of the copy, and whichever sink inserts first. With 64 bits,
two of ten million documents share an id with a probability of 3 in a million; such a page would
fail the deep check of its row hash.
"""

from functools import lru_cache
from typing import Final

from schemas.hashing import row_hash
from schemas.tables import Kind

ID_FORMULA: Final = row_hash
"""Ids are made like row hashes: golden vectors in `tests/unit/test_sink_identities.py`."""


@lru_cache(8192)
def municipality_id(site: str) -> int:
    """Return the id of a site's municipality."""
    return ID_FORMULA((site,))


@lru_cache(16384)
def document_id(site: str, kind: Kind, meeting: str | None, date: str | None) -> int:
    """Return the id of the document that a page belongs to; `date` is the source's text."""
    return ID_FORMULA((site, kind, meeting, date))
