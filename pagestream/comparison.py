"""Whether source, topic and database hold the same: each row's hash is computed anew in all three.

None of the hashes that pagestream made on the way is believed: the source's rows are hashed from
its SQLite file, the topic's from the fields of the newest record of each key, the database's by SQL
from the text that is stored.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from pagestream.walks import expect
from producer.datasette.client import TABLES
from runtime.database.connections import connect_at_start
from runtime.database.fates import door
from runtime.kafka.cluster import Cluster
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Partition
from runtime.settings import Settings
from schemas.hashing import row_hash
from schemas.records import Page
from schemas.tables import Kind, Table
from schemas.topics import PAGES

Hashes = Mapping[str, int]
"""The rows of one table in one place: id to content hash."""

_READ_SECONDS: Final = 120.0
_NAMED: Final = 5

# The source's rows as the fields under the hash, in their order.
_SOURCE: Final[Mapping[Kind, str]] = {
    kind: f"""
        SELECT id, meeting, date, CAST(page AS text), text, page_image, entities_json, votes_json
        FROM {table}
    """  # noqa: S608 - the names are our own
    for kind, table in TABLES.items()
}

# The formula of schemas.hashing, said in SQL: U+001E for NULL, U+001F between the fields.
_STORED: Final = r"""
    SELECT id,
           ('x' || left(encode(sha256(convert_to(concat_ws(E'\x1f', id,
               coalesce(meeting_name, E'\x1e'), coalesce(meeting_date_text, E'\x1e'),
               page_number::text, coalesce(text, E'\x1e'), coalesce(page_image, E'\x1e'),
               coalesce(entities, E'\x1e'), coalesce(votes, E'\x1e')), 'UTF8')), 'hex'), 16)
           )::bit(64)::bigint
    FROM pagestream.meeting_page
    WHERE subdomain = %s AND kind = %s
"""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one table in three places, and the ids of those that are not equal in all."""

    site: str
    kind: Kind
    source: int
    topic: int
    database: int
    differing: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every row is in all three places with the same content."""
        return not self.differing

    def named(self) -> str:
        """Return the first ids that differ, for a person."""
        more = len(self.differing) - _NAMED
        return ", ".join(self.differing[:_NAMED]) + (f" and {more} more" if more > 0 else "")


class Place(NamedTuple):
    """Where to find each of the three copies of a table."""

    file: Path
    settings: Settings
    cluster: Cluster


def compare(place: Place, table: Table) -> Comparison:
    """Return how one table's rows compare in source file, topic and database."""
    source = hashes_in_source(place.file, table.kind)
    topic = hashes_in_topic(place.settings, place.cluster, table)
    database = hashes_in_database(place.settings, table)
    everywhere = source.keys() | topic.keys() | database.keys()
    differing = [
        identity
        for identity in sorted(everywhere)
        if len({copy.get(identity) for copy in (source, topic, database)}) > 1
    ]
    return Comparison(
        site=table.site,
        kind=table.kind,
        source=len(source),
        topic=len(topic),
        database=len(database),
        differing=tuple(differing),
    )


def hashes_in_source(file: Path, kind: Kind) -> Hashes:
    """Return the rows of a site's SQLite file."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        rows = connection.execute(_SOURCE[kind])
        return {row[0]: row_hash(row) for row in rows}


def hashes_in_topic(settings: Settings, cluster: Cluster, table: Table) -> Hashes:
    """Return the pages of a table that are live in the topic: the newest of each key, undeleted."""
    found: dict[str, int] = {}
    start = table.record_key("")
    ends = cluster.ends([Partition(PAGES.name, table.partition)])
    with LogReader(settings) as reader:
        for record in reader.read(ends, seconds=_READ_SECONDS):
            if record.key is None or not record.key.startswith(start):
                continue
            identity = record.key.removeprefix(start)
            if record.value is None:
                found.pop(identity, None)
            else:
                found[identity] = row_hash(_fields(expect(Page, record)))
    return found


def _fields(page: Page) -> tuple[str | None, ...]:
    return (
        page.id,
        page.meeting,
        page.date,
        str(page.page),
        page.text,
        page.page_image,
        page.entities,
        page.votes,
    )


def hashes_in_database(settings: Settings, table: Table) -> Hashes:
    """Return the rows of a table as the database has them stored."""
    with closing(connect_at_start(settings, "comparison")) as connection, door():
        return dict(connection.execute(_STORED, (table.site, table.kind)).fetchall())
