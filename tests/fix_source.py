"""Fixtures for real Datasette servers over SQLite files of the shape that sites have."""

import hashlib
import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import pytest

from pagestream.embedded.datasette import VERSIONS, EmbeddedDatasette, Version

Row = Mapping[str, Any]

TYPED: Final = (
    "id TEXT PRIMARY KEY, meeting TEXT, date TEXT, page INTEGER, text TEXT, page_image TEXT, "
    "entities_json TEXT, votes_json TEXT"
)
"""The columns of a site's table."""

UNTYPED: Final = "id PRIMARY KEY, meeting, date, page, text, page_image, entities_json, votes_json"
"""The same without types: SQLite stores any value as it comes, NULL and numbers as ids too."""

NO_ENTITIES: Final = '{"persons": [], "orgs": [], "locations": []}'
NO_VOTES: Final = '{"votes": []}'

# Every real site sorts its tables by date, without a tie-break: a walk in that order loses rows.
METADATA: Final = {
    "databases": {
        "meetings": {"tables": {"agendas": {"sort_desc": "date"}, "minutes": {"sort_desc": "date"}}}
    }
}

_TABLES: Final = {"agenda": "agendas", "minutes": "minutes"}
_MEETINGS: Final = (
    "CityCouncil",
    "Planning Board, Special Meeting",
    "Mayor's Task Force (Housing)",
    "Parks/Recreation Commission",
)
_SENTENCES: Final = (
    "Call to order: Mayor Ashcraft called the meeting to order at {n}:00 p.m.",
    "Councilmember Daysog moved approval of Resolution No. {n}.",
    "Vice Mayor Vella seconded the motion, which carried by the following voice vote: Ayes: {n}.",
    "The Planning Director gave a presentation on the project at {n} Park Street.",
    "Public hearing to consider an ordinance amending Chapter {n} of the Municipal Code.",
    "Speakers: {n} residents, who were concerned about parking, noise and the café's hours.",
    "The City Manager reported ${n},000 — Señor García's budget for the Veterans' Building.",
)


def page_id(kind: str, meeting: str, day: str, page: int, text: str) -> str:
    """Return the id that a site gives a page: a hash of its kind, slot and text."""
    content = {"kind": kind, "meeting": meeting, "date": day, "page": page, "text": text}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def make_page(kind: str, meeting: str, day: str, page: int, text: str, **other: object) -> Row:
    """Return a page as a site holds it; `other` replaces columns, `id` among them."""
    return {
        "id": page_id(kind, meeting, day, page, text),
        "meeting": meeting,
        "date": day,
        "page": page,
        "text": text,
        "page_image": f"/{meeting}/{day}/{page}.png",
        "entities_json": NO_ENTITIES,
        "votes_json": NO_VOTES,
        **other,
    }


def make_pages(kind: str, count: int, seed: int = 0) -> list[Row]:
    """Return `count` pages of realistic text: the same for the same seed."""
    chance = random.Random(f"{kind}-{seed}")
    pages: list[Row] = []
    day = date(2010, 1, 5)
    while len(pages) < count:
        day += timedelta(days=chance.randint(1, 14))
        meeting = chance.choice(_MEETINGS)
        for page in range(1, min(chance.randint(1, 30), count - len(pages)) + 1):
            pages.append(make_page(kind, meeting, day.isoformat(), page, _text(chance)))  # noqa: PERF401 - the loop round it reads better so
    return pages


def _text(chance: random.Random) -> str:
    sentences = chance.choices(_SENTENCES, k=chance.randint(3, 25))
    return "\n".join(sentence.format(n=chance.randint(1, 9999)) for sentence in sentences)


def build_database(
    path: Path,
    *,
    agendas: Sequence[Row] = (),
    minutes: Sequence[Row] = (),
    columns: str = TYPED,
    change: Callable[[sqlite3.Connection], object] | None = None,
) -> None:
    """Write a site's SQLite file: both tables with their rows; `change` has the last word."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, rows in (("agendas", agendas), ("minutes", minutes)):
            connection.execute(f"CREATE TABLE {table} ({columns})")
            insert_rows(connection, table, rows)
        if change is not None:
            change(connection)


def insert_rows(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Insert rows into a table of a site, each with whatever columns it has."""
    for row in rows:
        marks = ", ".join("?" * len(row))
        statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"
        connection.execute(statement, tuple(row.values()))


@dataclass(frozen=True)
class SourceSite:
    """A served site: its base URL, its SQLite file (database `meetings`), Datasette's version.

    The base URL has no site in its host: use it with `source_connect`, or as `source_url` for one.
    """

    url: str
    database: Path
    version: Version

    @property
    def address(self) -> str:
        """The server's host:port."""
        return self.url.removeprefix("http://")

    def get(self, path: str) -> Any:
        """Return the JSON that the server gives for a path, which begins with a slash."""
        return json.loads(self.ask(path)[1])

    def ask(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body that the server gives for a path."""
        connection = HTTPConnection(self.address, timeout=30)
        with closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table's rows as SQLite has them, by id."""
        with closing(sqlite3.connect(self.database)) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
        return [dict(row) for row in rows]


class SourceFarm:
    """Serves sites; one that is not to be changed is shared by all who ask for the same content."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers: list[EmbeddedDatasette] = []
        self._shared: dict[tuple[str, Version, str], SourceSite] = {}

    def shared(
        self,
        *,
        version: Version = "0.65",
        settings: Mapping[str, str | int] | None = None,
        **content: Any,
    ) -> SourceSite:
        """Return a running site with this content (see `build_database`): read it only."""
        database = self._build(content)
        digest = hashlib.sha256(database.read_bytes()).hexdigest()
        key = (digest, version, json.dumps(settings))
        if key not in self._shared:
            self._shared[key] = self.serve(database, version=version, settings=settings)
        return self._shared[key]

    def private(
        self,
        *,
        version: Version = "0.65",
        settings: Mapping[str, str | int] | None = None,
        **content: Any,
    ) -> SourceSite:
        """Return a new running site with this content (see `build_database`), to change at will."""
        return self.serve(self._build(content), version=version, settings=settings)

    def serve(
        self,
        database: Path,
        *,
        version: Version = "0.65",
        settings: Mapping[str, str | int] | None = None,
    ) -> SourceSite:
        """Serve a SQLite file called `meetings.db` as it is."""
        server = EmbeddedDatasette(
            Path(tempfile.mkdtemp(dir=self._directory)),
            [database],
            version=version,
            metadata=METADATA,
            settings=settings,
        )
        self._servers.append(server)
        return SourceSite(server.start(), database, version)

    def _build(self, content: Mapping[str, Any]) -> Path:
        database = Path(tempfile.mkdtemp(dir=self._directory), "meetings.db")
        build_database(database, **content)
        return database

    def close(self) -> None:
        """End every server."""
        for server in self._servers:
            server.kill()


@pytest.fixture(scope="session")
def source_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SourceFarm]:
    """Serves the sites that tests describe; a site with the same content is started once."""
    directory = tmp_path_factory.mktemp("sources")
    farm = SourceFarm(directory)
    yield farm
    farm.close()
    shutil.rmtree(directory)


@pytest.fixture(params=VERSIONS, scope="session")
def datasette_version(request: pytest.FixtureRequest) -> Version:
    """Each version of Datasette that sites run: a test that takes this is run for every one."""
    version: Version = request.param
    return version


@pytest.fixture
def source_site(source_farm: SourceFarm, datasette_version: Version) -> SourceSite:
    """A site of 2,300 minutes and 1,200 agendas, so of several responses each; read it only."""
    return source_farm.shared(
        version=datasette_version,
        agendas=make_pages("agenda", 1200),
        minutes=make_pages("minutes", 2300),
    )
