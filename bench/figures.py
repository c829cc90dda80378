"""What is wanted of each measurement: rates become ratios to a peer, and get their limits."""

from bench import recoveries, road, sink, walker
from bench.results import Figure, ratios

_SINK = "The sink beside raw COPY"
_WALKER = "The walker beside a bare client"
_ROAD = "The whole road"
_BACK = "At work again"


def of_sink(rates: sink.Rates) -> list[Figure]:
    """Return the sink's figures."""
    load, replay = ratios(rates.load, rates.copy), ratios(rates.replay, rates.copy)
    return [
        Figure(_SINK, "raw COPY", "pages/s", rates.copy),
        Figure(_SINK, "first load", "pages/s", rates.load),
        Figure(_SINK, "first load, of raw COPY", "ratio", load, at_least=0.65),
        Figure(_SINK, "replay of unchanged pages", "pages/s", rates.replay),
        Figure(_SINK, "replay of unchanged pages, of raw COPY", "ratio", replay, at_least=1.4),
        Figure(_SINK, "the sink's peak memory", "MB", rates.megabytes, at_most=250),
    ]


def of_walker(rates: walker.Rates) -> list[Figure]:
    """Return the walker's figures."""
    one, six = ratios(rates.real_one, rates.bare_one), ratios(rates.real_six, rates.bare_six)
    instant_six = rates.instant_six
    return [
        Figure(_WALKER, "instant source, one walk", "pages/s", rates.instant_one),
        Figure(_WALKER, "instant source, six walks", "pages/s", instant_six, at_least=18_000),
        Figure(_WALKER, "Datasette, bare client", "pages/s", rates.bare_one),
        Figure(_WALKER, "Datasette, one walk", "pages/s", rates.real_one),
        Figure(_WALKER, "one walk, of one bare client", "ratio", one, at_least=0.5),
        Figure(_WALKER, "Datasette, six bare clients", "pages/s", rates.bare_six),
        Figure(_WALKER, "Datasette, six walks", "pages/s", rates.real_six),
        Figure(_WALKER, "six walks, of six bare clients", "ratio", six, at_least=0.6),
    ]


def of_road(short: road.Trip, long: road.Trip) -> list[Figure]:
    """Return the road's figures: one trip with a tenth of the pages, one with all."""
    speed = [long.pages_per_second]
    return [
        Figure(_ROAD, "Datasette to rows stored", "pages/s", speed, at_least=8_000),
        *_memory("walker", short.walker_megabytes, long.walker_megabytes),
        *_memory("sink", short.sink_megabytes, long.sink_megabytes),
    ]


def _memory(name: str, before: float, after: float) -> list[Figure]:
    growth = f"{name}'s memory with ten times the pages"
    return [
        Figure(_ROAD, f"{name}'s peak memory", "MB", [after]),
        Figure(_ROAD, growth, "ratio", [after / before], at_most=1.1),
    ]


def of_recoveries(found: recoveries.Recoveries) -> list[Figure]:
    """Return the deadlines' figures."""
    start = f"a walker's start on {recoveries.RESTORED:,} sites"
    database = found.database
    return [
        Figure(_BACK, start, "s", found.restore),
        Figure(_BACK, "a killed walker's next step", "s", found.takeover, "p95", at_most=15),
        Figure(_BACK, "Kafka back to the next step", "s", found.broker, "p95", at_most=30),
        Figure(_BACK, "PostgreSQL back to the next commit", "s", database, "p95", at_most=5),
    ]
