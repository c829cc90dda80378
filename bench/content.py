"""The pages that are measured with: the demo's real city, over and over, as sites of their own."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pagestream.demo import city
from schemas.hashing import HASH_VERSION, row_hash
from schemas.records import Page

SITES: Final = tuple(f"bench-{number}.ca" for number in range(6))
"""Six sites, as six walks side by side: each is a partition's only table."""

_ROWS: Final = (
    "SELECT meeting, date, page, text, page_image, entities_json, votes_json FROM minutes"
)

Row = tuple[str | None, str | None, str, str | None, str | None, str | None, str | None]


def real_rows(folder: Path) -> list[Row]:
    """Return the city's rows without their ids; its database is unpacked into `folder`."""
    database = city.database_file(folder)
    city.unpack(database)
    connection = sqlite3.connect(database)
    try:
        return [
            (meeting, day, str(page), text, image, entities, votes)
            for meeting, day, page, text, image, entities, votes in connection.execute(_ROWS)
        ]
    finally:
        connection.close()


def identity(number: int) -> str:
    """Return the id of a site's n-th page: 12 hex digits, rising, as scattered as a hash's."""
    return f"{number:06x}{number * 2_654_435_761 % 2**24:06x}"


def pages(rows: list[Row], site: str, first: int, count: int) -> Iterator[Page]:
    """Yield pages of a site, by number; every pass over the city is other meetings."""
    for number in range(first, first + count):
        meeting, day, page, text, image, entities, votes = rows[number % len(rows)]
        meeting = f"{meeting} {number // len(rows)}"
        fields = (identity(number), meeting, day, page, text, image, entities, votes)
        yield Page(
            site=site,
            kind="minutes",
            id=fields[0],
            meeting=meeting,
            date=day,
            page=int(page),
            text=text,
            page_image=image,
            entities=entities,
            votes=votes,
            row_hash=row_hash(fields),
            hash_version=HASH_VERSION,
            walk=1,
            step=number // 1000,
        )


def page_bytes(rows: list[Row]) -> float:
    """Return the mean size of a page's texts, in bytes."""
    return sum(len((field or "").encode()) for row in rows for field in row) / len(rows)
