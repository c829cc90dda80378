"""Run the benchmarks: `python -m bench`. Takes about 15 minutes; nothing else should be running.

Every figure that can be is a ratio to a limit or a peer of the same run, measured turn by turn. The
results go to bench/results.json; `make docs` makes docs/performance.md from it.
"""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from bench import figures, recoveries, road, sink, walker
from bench.content import Row, page_bytes, real_rows
from bench.machine import describe
from bench.results import FILE, Figure, Results
from bench.stand import Stand, servers

_PARTS: Final = ("sink", "walker", "road", "recoveries")


def main(
    pages: Annotated[int, typer.Option(help="Pages that the sink loads.")] = 180_000,
    times: Annotated[int, typer.Option(help="How often each recovery is measured.")] = 20,
    only: Annotated[list[str] | None, typer.Option(help="Parts to run; default all.")] = None,
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path(FILE),
) -> None:
    """Measure, print every figure, and write the results."""
    found: list[Figure] = []
    with servers() as stand:
        rows = real_rows(stand.folder / "city")
        for part in only or _PARTS:
            began = time.monotonic()
            for figure in _measure(part, stand, rows, pages, times):
                found.append(figure)
                _show(figure)
            sys.stdout.write(f"{part}: {time.monotonic() - began:.0f} s\n\n")
        results = Results(
            at=datetime.now(UTC).date().isoformat(),
            machine=describe(stand),
            pages=pages,
            page_bytes=round(page_bytes(rows)),
            figures=found,
        )
    out.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def _measure(part: str, stand: Stand, rows: list[Row], pages: int, times: int) -> list[Figure]:
    match part:
        case "sink":
            return figures.of_sink(sink.measure(stand, rows, pages))
        case "walker":
            return figures.of_walker(walker.measure(stand, rows, pages // 6))
        case "road":
            short, long = (
                road.measure(stand, rows, count) for count in (pages // 3, pages * 10 // 3)
            )
            return figures.of_road(short, long)
        case "recoveries":
            return figures.of_recoveries(recoveries.measure(stand, rows, times))
        case _:
            raise typer.BadParameter(f"{part} is none of {', '.join(_PARTS)}")


def _show(figure: Figure) -> None:
    values = ", ".join(f"{value:,.2f}" for value in figure.values)
    judged = {True: "reached", False: "MISSED", None: ""}[figure.reached]
    sys.stdout.write(f"{figure.name}: {figure.value:,.2f} {figure.unit} {judged} ({values})\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
