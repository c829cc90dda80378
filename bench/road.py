"""The whole road: from Datasette's first response to the last row stored, and what it takes.

Six sites are walked by one walker and stored by one sink, each a process of its own, on the same
machine as Datasette, Kafka and PostgreSQL. Once with a tenth of the pages and once with all: what
the processes hold in memory must not grow with them.
"""

import time
from typing import Final

import msgspec

from bench import walks
from bench.content import Row
from bench.roles import role
from bench.sink import connected
from bench.source import large_database, serving, with_source
from bench.stand import Stand
from bench.walker import TABLES
from runtime.settings import Settings

_DEADLINE: Final = 900.0
_TICK: Final = 0.05
_STORED: Final = "SELECT count(*) FROM meeting_page"
_BARRIERS: Final = "SELECT count(*) FROM walk_barrier"


class Trip(msgspec.Struct):
    """One trip: pages stored a second, and each process's peak memory in MB."""

    pages_per_second: float
    walker_megabytes: float
    sink_megabytes: float


def measure(stand: Stand, rows: list[Row], count: int) -> Trip:
    """Return what a trip of `count` pages, spread over the sites, came to."""
    each = count // len(TABLES)
    name = f"road{count}"
    database = large_database(stand.folder / name / "meetings.db", rows, each)
    with stand.corner(name) as corner, serving(stand.folder / f"{name}-source", database) as at:
        settings = with_source(corner, at)
        with role("walker", settings) as walker, role("sink", settings) as sink:
            walks.add(settings, TABLES)
            began = time.monotonic()
            walks.start(settings, TABLES)
            _wait_until_stored(settings)
            seconds = time.monotonic() - began
            _check(settings, each * len(TABLES))
            return Trip(
                pages_per_second=each * len(TABLES) / seconds,
                walker_megabytes=walker.peak_megabytes(),
                sink_megabytes=sink.peak_megabytes(),
            )


def _wait_until_stored(settings: Settings) -> None:
    """Wait until the barrier behind every walk's last page is passed."""
    deadline = time.monotonic() + _DEADLINE
    with connected(settings) as connection:
        while (connection.execute(_BARRIERS).fetchone() or (0,))[0] < len(TABLES):
            if time.monotonic() > deadline:
                raise TimeoutError("everything should have been stored")
            time.sleep(_TICK)


def _check(settings: Settings, wanted: int) -> None:
    with connected(settings) as connection:
        (stored,) = connection.execute(_STORED).fetchone() or (0,)
    if stored != wanted:
        raise RuntimeError(f"{stored} of {wanted} pages were stored")
