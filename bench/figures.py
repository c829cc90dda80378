"""What is wanted of each measurement: rates become ratios to a peer, and get their limits."""

from bench import recoveries, road, sink, walker
from bench.results import Figure, ratios

_SINK = "The sink beside raw COPY"
_WALKER = "The walker beside a bare client"
_ROAD = "The whole road"
_RECOVERIES = "At work again"


def of_sink(rates: sink.Rates) -> list[Figure]:
    """Return the sink's figures."""
    return [
        Figure(part=_SINK, name="raw COPY", unit="pages/s", values=rates.copy),
        Figure(part=_SINK, name="first load", unit="pages/s", values=rates.load),
        Figure(
            part=_SINK,
            name="first load, of raw COPY",
            unit="ratio",
            values=ratios(rates.load, rates.copy),
            at_least=0.65,
        ),
        Figure(part=_SINK, name="replay of unchanged pages", unit="pages/s", values=rates.replay),
        Figure(
            part=_SINK,
            name="replay of unchanged pages, of raw COPY",
            unit="ratio",
            values=ratios(rates.replay, rates.copy),
            at_least=1.4,
        ),
        Figure(
            part=_SINK,
            name="the sink's peak memory",
            unit="MB",
            values=rates.megabytes,
            at_most=250,
        ),
    ]


def of_walker(rates: walker.Rates) -> list[Figure]:
    """Return the walker's figures."""
    return [
        Figure(
            part=_WALKER,
            name="instant source, one walk",
            unit="pages/s",
            values=rates.instant_one,
        ),
        Figure(
            part=_WALKER,
            name="instant source, six walks",
            unit="pages/s",
            values=rates.instant_six,
            at_least=18_000,
        ),
        Figure(part=_WALKER, name="Datasette, bare client", unit="pages/s", values=rates.bare_one),
        Figure(part=_WALKER, name="Datasette, one walk", unit="pages/s", values=rates.real_one),
        Figure(
            part=_WALKER,
            name="one walk, of one bare client",
            unit="ratio",
            values=ratios(rates.real_one, rates.bare_one),
            at_least=0.5,
        ),
        Figure(
            part=_WALKER, name="Datasette, six bare clients", unit="pages/s", values=rates.bare_six
        ),
        Figure(part=_WALKER, name="Datasette, six walks", unit="pages/s", values=rates.real_six),
        Figure(
            part=_WALKER,
            name="six walks, of six bare clients",
            unit="ratio",
            values=ratios(rates.real_six, rates.bare_six),
            at_least=0.6,
        ),
    ]


def of_road(short: road.Trip, long: road.Trip) -> list[Figure]:
    """Return the road's figures: one trip with a tenth of the pages, one with all."""
    figures = [
        Figure(
            part=_ROAD,
            name="Datasette to rows stored",
            unit="pages/s",
            values=[long.pages_per_second],
            at_least=8_000,
        )
    ]
    for name, before, after in (
        ("walker", short.walker_megabytes, long.walker_megabytes),
        ("sink", short.sink_megabytes, long.sink_megabytes),
    ):
        figures += [
            Figure(part=_ROAD, name=f"{name}'s peak memory", unit="MB", values=[after]),
            Figure(
                part=_ROAD,
                name=f"{name}'s memory with ten times the pages",
                unit="ratio",
                values=[after / before],
                at_most=1.1,
            ),
        ]
    return figures


def of_recoveries(found: recoveries.Recoveries) -> list[Figure]:
    """Return the deadlines' figures."""
    return [
        Figure(
            part=_RECOVERIES,
            name=f"a walker's start on {recoveries.RESTORED:,} sites",
            unit="s",
            values=found.restore,
        ),
        Figure(
            part=_RECOVERIES,
            name="a killed walker's next step",
            unit="s",
            of="p95",
            values=found.takeover,
            at_most=15,
        ),
        Figure(
            part=_RECOVERIES,
            name="Kafka back to the next step",
            unit="s",
            of="p95",
            values=found.broker,
            at_most=30,
        ),
        Figure(
            part=_RECOVERIES,
            name="PostgreSQL back to the next commit",
            unit="s",
            of="p95",
            values=found.database,
            at_most=5,
        ),
    ]
