"""The command `demo`: a real city through real servers, and the proof that the copy is equal."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from rich.markup import escape

from pagestream.backfilling import FollowedWalk, Wanted, result_of
from pagestream.cli.arguments import StateDirectory
from pagestream.cli.local import PANEL, local_settings, program, psql, running_here
from pagestream.cli.outcome import report_failures, what_became
from pagestream.cli.screen import duration, grid, number, pairs, results, say, show_lines
from pagestream.cli.sites import add_site
from pagestream.cli.walking import walk_and_follow
from pagestream.demo.city import CITY
from runtime.errors import DataDiffers
from schemas.tables import KINDS, Table

if TYPE_CHECKING:
    from pagestream.comparison import Comparison
    from pagestream.installation import Installation

_TABLES: Final = tuple(Table(CITY.site, kind) for kind in KINDS)


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel=PANEL)(demo)


def demo(context: typer.Context, *, state_dir: StateDirectory = None) -> None:
    """Walk a real city into PostgreSQL, and show the copy equal.

    Starts what `pagestream up` starts, walks four years of one city's minutes through Kafka into
    PostgreSQL, compares source, topic and database row by row, and ends. The exit code is 65 when
    anything differs. The data stay: `pagestream up` runs on them.

    Example: `pagestream demo`
    """
    began = time.monotonic()
    say("pagestream copies a real city into PostgreSQL, through Kafka: 4,822 pages of minutes.")
    say("[dim]The servers run on this machine; what they need is downloaded the first time.[/]\n")
    with running_here(local_settings(context, state_dir)) as installation:
        ready = time.monotonic()
        comparisons = _walk_and_compare(installation)
        _show_further(installation)
        say(f"\n[dim]The servers took {duration(ready - began)} to start. Stopping them…[/]")
    _judge(comparisons)
    say(f"[dim]Done in {duration(time.monotonic() - began)}.[/]")


def _walk_and_compare(installation: "Installation") -> "list[Comparison]":
    from pagestream.comparison import Place, compare  # noqa: PLC0415 - loaded by now

    settings, cluster = installation.settings, installation.cluster
    add_site(settings, cluster, CITY)
    say(f"\nWalking {CITY.site}, as `pagestream backfill --subdomain {CITY.site}` does:")
    walks = walk_and_follow(settings, cluster, _TABLES, Wanted(rows=settings.rows_per_response))
    report_failures(walks)
    say("Reading all three copies, and hashing every row anew…")
    place = Place(installation.database_file, settings, cluster)
    comparisons = [compare(place, table) for table in _TABLES]
    _show_proof(comparisons)
    _show_walks(walks)
    return comparisons


def _show_proof(comparisons: "Sequence[Comparison]") -> None:
    kinds = [comparison.kind for comparison in comparisons]
    table = grid("", *kinds, numbers=tuple(kinds))
    table.add_row("rows in the source's SQLite file", *(number(one.source) for one in comparisons))
    table.add_row("live keys in the topic of pages", *(number(one.topic) for one in comparisons))
    table.add_row("rows in PostgreSQL", *(number(one.database) for one in comparisons))
    words = ["[green]equal[/]" if one.equal else "[bold red]differ[/]" for one in comparisons]
    table.add_row("content hashes", *words)
    results().print(table)


def _show_walks(walks: Sequence[FollowedWalk]) -> None:
    for result in map(result_of, walks):
        if result.pages and result.seconds:
            results().print(
                f"{result.pages:,} pages of {result.kind} walked in {result.seconds:.1f} s, "
                f"{result.pages / result.seconds:,.0f} pages/s: {what_became(result)}."
            )


def _show_further(installation: "Installation") -> None:
    name = program()
    from_source = Path("Makefile").is_file() and name.startswith(".venv")
    further = {
        "make up" if from_source else f"{name} up": "run it all again, until Ctrl-C; then",
        f"{name} topics": "what Kafka holds",
        f"{name} walks": "how each walk went",
    }
    if Path("docs/concepts.md").is_file():
        further["docs/concepts.md"] = "what you have just seen"
    show_lines("\nTo look further:\n")
    show_lines(pairs(further))
    show_lines(f"  {escape(psql(installation.state))}")
    show_lines("  SELECT meeting_name, meeting_date, text FROM pagestream.meeting_page LIMIT 1;")


def _judge(comparisons: "Sequence[Comparison]") -> None:
    for one in comparisons:
        if not one.equal:
            raise DataDiffers(
                f"{one.site}/{one.kind} is not the same in source, topic and database: "
                f"{one.named()}",
                remedy="walk it again with `pagestream backfill`; if it stays, please report it",
            )
