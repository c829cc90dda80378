"""The source's tables: what names one, what keys its records, which partition they share."""

import hashlib
import re
from typing import Final, Literal, NamedTuple, get_args

Kind = Literal["agenda", "minutes"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

PARTITIONS: Final = 48
"""Partitions of every topic. Fixed at creation: changing it would part a table's records."""

_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SITE: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_MAX_SITE_LENGTH: Final = 200


def is_site(name: str) -> bool:
    """Tell whether `name` can be a site: a lower-case host name relative to the base domain.

    A site becomes part of a host name, so everything else (`evil.com/#`, `x@evil.com`) is refused
    here, before any address is built from it.
    """
    return len(name) <= _MAX_SITE_LENGTH and _SITE.fullmatch(name) is not None


class Table(NamedTuple):
    """One table of one site: the unit of order, of walking and of owning."""

    site: str
    kind: Kind

    @property
    def key(self) -> str:
        """The Kafka key of this table's commands, state and ledger events: `site/kind`."""
        return f"{self.site}/{self.kind}"

    @property
    def partition(self) -> int:
        """The partition of every record of this table, the same in every topic."""
        return partition_of(self.key)

    @property
    def barrier_key(self) -> str:
        """The key of this table's barriers in `pages`; `#` cannot occur in a site or a kind."""
        return f"{self.key}#barrier"

    @property
    def removal_key(self) -> str:
        """The key of this table's removal in `pages`."""
        return f"{self.key}#removed"

    def record_key(self, identity: str) -> str:
        """Return the key of one page, or one dead letter, of this table: `site/kind/identity`."""
        return f"{self.key}/{identity}"

    @classmethod
    def parse(cls, key: str) -> "Table":
        """Return the table that a `site/kind` key names; ValueError when it names none."""
        site, _, kind = key.rpartition("/")
        if not is_site(site):
            raise ValueError(f"{key!r} names no table: {site!r} is not a site")
        for known in KINDS:
            if known == kind:
                return cls(site, known)
        raise ValueError(f"{key!r} names no table: kind {kind!r} is none of {', '.join(KINDS)}")

    @classmethod
    def parse_record_key(cls, key: str) -> tuple["Table", str]:
        """Return table and identity of a `site/kind/identity` key; ValueError when it is none."""
        site, _, rest = key.partition("/")
        kind, slash, identity = rest.partition("/")
        if not slash or not identity:
            raise ValueError(f"{key!r} is not site/kind/identity")
        return cls.parse(f"{site}/{kind}"), identity


def partition_of(key: str) -> int:
    """Return the partition of a key: a table's `site/kind`, or a `site` alone.

    The first eight bytes of the key's SHA-256, as a big-endian unsigned number, modulo the number
    of partitions. Every producer passes the result explicitly, because the client libraries'
    own partitioners disagree with one another. Golden vectors: `examples/partitions.json`.
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % PARTITIONS
