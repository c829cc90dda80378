"""The measured source: a real Datasette over one large table, and the barest client of it."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from bench.content import Row, identity
from pagestream.demo import city
from pagestream.embedded.datasette import EmbeddedDatasette
from runtime.settings import Settings

_COLUMNS: Final = (
    "id TEXT PRIMARY KEY, meeting TEXT, date TEXT, page INTEGER, text TEXT, page_image TEXT, "
    "entities_json TEXT, votes_json TEXT"
)
_QUERY: Final = "_sort=id&_shape=objects&_size=1000&_nocount=1&_nofacet=1&_nosuggest=1"


def source_row(rows: list[Row], number: int) -> dict[str, object]:
    """Return a site's n-th row as the source holds it."""
    meeting, day, page, text, image, entities, votes = rows[number % len(rows)]
    return {
        "id": identity(number),
        "meeting": f"{meeting} {number // len(rows)}",
        "date": day,
        "page": int(page),
        "text": text,
        "page_image": image,
        "entities_json": entities,
        "votes_json": votes,
    }


def large_database(file: Path, rows: list[Row], count: int) -> Path:
    """Return a new SQLite file with so many rows of minutes, and a table of agendas without any."""
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(f"CREATE TABLE minutes ({_COLUMNS})")
        connection.execute(f"CREATE TABLE agendas ({_COLUMNS})")
        connection.executemany(
            "INSERT INTO minutes VALUES (:id, :meeting, :date, :page, :text, :page_image, "
            ":entities_json, :votes_json)",
            (source_row(rows, number) for number in range(count)),
        )
    connection.close()
    return file


@contextmanager
def serving(folder: Path, database: Path) -> Iterator[str]:
    """Serve the file as civic.band serves a site, for the block; yields the base URL."""
    server = EmbeddedDatasette(
        folder,
        [database],
        metadata=city.metadata(),
        settings={"sql_time_limit_ms": 20_000},
    )
    try:
        yield server.start()
    finally:
        server.stop()


def with_source(settings: Settings, address: str) -> Settings:
    """Return the settings with every subdomain at this address."""
    place = address.removeprefix("http://")
    port = place.rpartition(":")[2]
    return settings.model_copy(
        update={
            "source_url": f"http://{{subdomain}}.localhost:{port}",
            "source_connect": place,
        }
    )


def bare_rows_per_second(address: str, count: int, clients: int) -> float:
    """Return the rows a second of `clients` loops at once that do nothing but read JSON."""
    threads = [threading.Thread(target=_read_all, args=(address, count)) for _ in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * count / (time.monotonic() - began)


def _read_all(address: str, count: int) -> None:
    read, token = 0, None
    with httpx.Client(timeout=60) as client:
        while read == 0 or token:
            following = f"&_next={token}" if token else ""
            body = client.get(f"{address}/meetings/minutes.json?{_QUERY}{following}").json()
            read, token = read + len(body["rows"]), body["next"]
    if read != count:
        raise RuntimeError(f"the bare client read {read} of {count} rows")
