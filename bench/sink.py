"""The sink beside raw COPY: the same pages, into the same table, on the same server.

Pages of six sites lie in the topic. Then, `ROUNDS` times, side by side:

1. The sink loads them all into an empty table.
2. It applies them all again, with its positions put back: nothing changes.
3. Raw COPY writes what the table then holds into it, emptied, over one connection in one
   transaction: documents, keys, foreign keys and indexes are those of the sink.
"""

import time
from typing import Final

import msgspec
import psycopg

from bench.content import SITES, Row, pages
from bench.roles import role
from bench.stand import Stand
from consumers.projections.copying import PAGE_COLUMNS
from migrations import GENERATION
from runtime.kafka.publisher import Publisher
from runtime.kafka.records import outgoing
from runtime.settings import Settings
from schemas.tables import Table
from schemas.topics import PAGES

ROUNDS: Final = 3
_TICK: Final = 0.02
_AT_ONCE: Final = 5_000
_CHUNK: Final = 1 << 20
_DEADLINE: Final = 600.0

_APPLIED: Final = "SELECT coalesce(sum(next_offset), 0) FROM sink_position WHERE topic = 'pages'"
_TABLE: Final = f"meeting_page ({PAGE_COLUMNS})"


class Rates(msgspec.Struct):
    """Pages a second of each contender, one entry a round, and the sink's peak memory in MB."""

    load: list[float] = []
    replay: list[float] = []
    copy: list[float] = []
    megabytes: list[float] = []


def measure(stand: Stand, rows: list[Row], count: int) -> Rates:
    """Return the rates with so many pages in the topic."""
    rates = Rates()
    with stand.corner("sink") as settings:
        publish(settings, rows, range(count // len(SITES)))
        for _ in range(ROUNDS):
            empty(settings)
            with role("sink", settings) as sink:
                rates.load.append(rate(settings, count))
                rates.megabytes.append(sink.peak_megabytes())
            put_back(settings)
            with role("sink", settings):
                rates.replay.append(rate(settings, count))
            rates.copy.append(raw_copy(settings))
    return rates


def publish(settings: Settings, rows: list[Row], numbers: range) -> None:
    """Publish pages of these numbers for each of the six sites, turn by turn, as walks would."""
    publisher = Publisher(settings)
    for first in range(numbers.start, numbers.stop, _AT_ONCE):
        for site in SITES:
            table = Table(site, "minutes")
            publisher.publish(
                [
                    outgoing(PAGES, table.record_key(page.id), table.partition, page)
                    for page in pages(rows, site, first, min(_AT_ONCE, numbers.stop - first))
                ]
            )


def rate(settings: Settings, count: int) -> float:
    """Return how many pages a second were applied between the first commit and the last."""
    deadline = time.monotonic() + _DEADLINE
    with connected(settings) as connection:
        first, began = 0, None
        while time.monotonic() < deadline:
            done, now = applied(connection), time.monotonic()
            if done and began is None:
                first, began = done, now
            if done >= count and began is not None:
                return (count - first) / (now - began)
            time.sleep(_TICK)
    raise TimeoutError("the sink should have applied everything")


def applied(connection: psycopg.Connection) -> int:
    """Return how many pages the sink has applied."""
    (offsets,) = connection.execute(_APPLIED).fetchone() or (0,)
    return int(offsets)


def connected(settings: Settings) -> psycopg.Connection:
    """Return a connection to the measured database."""
    return psycopg.connect(
        settings.database.get_secret_value(),
        autocommit=True,
        options=f"-c search_path={GENERATION},pagestream_log",
    )


def empty(settings: Settings) -> None:
    """Empty the copy, and put the sink back to the beginning."""
    with connected(settings) as connection:
        connection.execute("TRUNCATE meeting_page, meeting_document, municipality, sink_position")
        connection.execute("CHECKPOINT")


def put_back(settings: Settings) -> None:
    """Put the sink back to the beginning; vacuumed, as the table is by the time of a replay."""
    with connected(settings) as connection:
        connection.execute("TRUNCATE sink_position")
        connection.execute("VACUUM ANALYZE meeting_page")
        connection.execute("CHECKPOINT")


def raw_copy(settings: Settings) -> float:
    """Return how many pages a second raw COPY writes of what the table now holds."""
    with connected(settings) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY {_TABLE} TO STDOUT") as copy:
            content = b"".join(bytes(block) for block in copy)
        (count,) = cursor.execute("SELECT count(*) FROM meeting_page").fetchone() or (0,)
        cursor.execute("TRUNCATE meeting_page")
        cursor.execute("CHECKPOINT")
        began = time.monotonic()
        with cursor.copy(f"COPY {_TABLE} FROM STDIN") as copy:
            for start in range(0, len(content), _CHUNK):
                copy.write(content[start : start + _CHUNK])
        return float(count) / (time.monotonic() - began)
