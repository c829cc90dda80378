"""The walker: with a source that answers at once, and on a real Datasette beside a bare client.

The bare client is a loop that asks for the same responses, decodes the JSON and forgets it. One
walk and six walks side by side, each beside as many bare loops, turn by turn.
"""

from typing import Final

import msgspec

from bench import walks
from bench.content import SITES, Row
from bench.roles import role
from bench.source import bare_rows_per_second, large_database, serving, with_source
from bench.stand import Stand
from schemas.tables import Table

ROUNDS: Final = 3
TABLES: Final = [Table(site, "minutes") for site in SITES]


class Rates(msgspec.Struct):
    """Pages a second, one entry a round."""

    instant_one: list[float] = []
    instant_six: list[float] = []
    bare_one: list[float] = []
    bare_six: list[float] = []
    real_one: list[float] = []
    real_six: list[float] = []


def measure(stand: Stand, rows: list[Row], count: int) -> Rates:
    """Return the rates of walks over `count` pages each."""
    rates = Rates()
    _measure_instant(stand, count, rates)
    _measure_real(stand, rows, count, rates)
    return rates


def _measure_instant(stand: Stand, count: int, rates: Rates) -> None:
    command = ("-m", "bench.instant_walker", str(count), str(stand.folder / "city"), "1000")
    with stand.corner("instant") as corner:
        # A source on loopback has no request limit; nothing is ever asked of this one.
        settings = with_source(corner, "http://127.0.0.1:1")
        with role("walker", settings, *command):
            walks.add(settings, TABLES)
            for _ in range(ROUNDS):
                rates.instant_one.append(walks.pages_per_second(settings, TABLES[:1]))
                rates.instant_six.append(walks.pages_per_second(settings, TABLES))


def _measure_real(stand: Stand, rows: list[Row], count: int, rates: Rates) -> None:
    database = large_database(stand.folder / "large" / "meetings.db", rows, count)
    with stand.corner("walker") as corner, serving(stand.folder / "source", database) as source:
        settings = with_source(corner, source)
        with role("walker", settings):
            walks.add(settings, TABLES)
            for _ in range(ROUNDS):
                rates.bare_one.append(bare_rows_per_second(source, count, 1))
                rates.real_one.append(walks.pages_per_second(settings, TABLES[:1]))
                rates.bare_six.append(bare_rows_per_second(source, count, len(TABLES)))
                rates.real_six.append(walks.pages_per_second(settings, TABLES))
