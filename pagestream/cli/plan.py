"""The command `plan`: what a backfill will cost, before it starts."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer
from rich.markup import escape

from pagestream.access import open_cluster
from pagestream.cli.arguments import AsJson, DocumentType, kinds_of, site_or_all
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.screen import duration, grid, number, results, say, warn, write_json
from pagestream.planning import (
    PAGES_MEASURED,
    Pace,
    Plan,
    Size,
    TablePlan,
    plan,
    sizes_known,
    unknown_tables,
)
from pagestream.walks import known_sites, newest_states
from runtime.errors import NotDone
from runtime.settings import Settings
from schemas.records import Municipality
from schemas.tables import Table
from schemas.walks import WalkState

PANEL: Final = "Walk"

_MOST_ROWS: Final = 20
_SAY_EVERY_SECONDS: Final = 10.0
_ORIGINS: Final = {
    "walk": "the last walk",
    "claim": "the site's claim",
    "source": "the site, asked now",
    "unknown": "",
}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("plan", rich_help_panel=PANEL)(show_plan)


def show_plan(
    context: typer.Context,
    *,
    subdomain: Annotated[
        str,
        typer.Option(metavar="SITE", callback=site_or_all, help="A site, or `all` known ones."),
    ] = "all",
    document_type: Annotated[
        DocumentType, typer.Option(metavar="TYPE", help="`agenda`, `minutes` or `both`.")
    ] = "both",
    offline: Annotated[
        bool, typer.Option("--offline", metavar="", help="Ask no site anything.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a full backfill will cost: requests, hours, disk.

    How many pages a table has is known from its last walk, or claimed by the site's record; else
    the site is asked, with one short SQL query a table, within the request limit. Nothing is asked
    while walks go on that need the limit themselves. A site need not be added yet.

    The requests are those of full walks in which nothing fails, and of listings by SQL: a site
    that refuses SQL needs up to twice as many. Without a limit the time depends on the sites.

    Example: `pagestream plan --subdomain alameda.ca`
    """
    from pagestream.census import pace_of  # noqa: PLC0415 - httpx takes long to import

    settings = quiet_settings_of(context)
    cluster = open_cluster(settings)
    states = newest_states(settings, cluster)
    records = known_sites(settings, cluster)
    sites = _sites(records, subdomain)
    claims = {one.site: one.pages for one in records if one.pages is not None}
    sizes = sizes_known(sites, states, claims)
    wanted = [table for table in sizes if table.kind in kinds_of(document_type)]
    pace = pace_of(settings)
    if not offline:
        sizes |= _ask(settings, unknown_tables(sizes, wanted), states, pace)
    secrets = {table: states[table].secret for table in wanted if table in states}
    found = plan({table: sizes[table] for table in wanted}, secrets, pace)
    if as_json:
        write_json(found)
    else:
        _show(found, pace)


def _sites(records: Sequence[Municipality], subdomain: str) -> list[str]:
    if subdomain != "all":
        return [subdomain]
    sites = [one.site for one in records if not one.removed]
    if not sites:
        raise NotDone("no site is known", remedy="run `pagestream sites add SITE`, or name one")
    return sites


def _ask(
    settings: Settings, tables: Sequence[Table], states: Mapping[Table, WalkState], pace: Pace
) -> dict[Table, Size]:
    """Ask the sites about these tables, unless walks need all that the limit allows."""
    from pagestream.census import Census  # noqa: PLC0415 - httpx takes long to import

    if not tables:
        return {}
    if pace.per_minute is not None:
        if any(state.status == "in_progress" for state in states.values()):
            warn("walks are going on, and need the request limit: no site was asked")
            return {}
        say(
            f"[dim]Asking about {len(tables):,} tables, at {pace.per_minute:g} requests a minute: "
            f"about {duration(len(tables) / pace.per_minute * 60)} (`--offline` asks nothing)[/]"
        )
    sizes: dict[Table, Size] = {}
    said_at = time.monotonic()
    with Census(settings) as census:
        for table in tables:
            state = states.get(table)
            sizes[table] = census.count(table, state.secret if state is not None else None)
            if time.monotonic() - said_at >= _SAY_EVERY_SECONDS:
                said_at = time.monotonic()
                say(f"[dim]{len(sizes):,} of {len(tables):,} asked[/]")
    return sizes


def _show(found: Plan, pace: Pace) -> None:
    numbers = ("pages", "requests", "database", "topics")
    table = grid("table", "pages", "by", *numbers[1:], "", numbers=numbers)
    ordered = sorted(found.tables, key=lambda one: -(one.pages or 0))
    if len(ordered) <= _MOST_ROWS:
        ordered = list(found.tables)
    for one in ordered[:_MOST_ROWS]:
        table.add_row(*_row(one))
    table.add_section()
    table.add_row(
        f"all {len(found.tables):,}" if found.unknown == 0 else f"all but {found.unknown:,}",
        number(found.pages),
        "",
        number(found.requests),
        _bytes(found.database_bytes),
        _bytes(found.topic_bytes),
        "",
    )
    results().print(table)
    results().print(_time(found))
    if len(ordered) > _MOST_ROWS:
        say(f"[dim]{_MOST_ROWS} of {len(ordered):,} tables are shown; --json gives all[/]")
    say(f"[dim]Disk as measured on {PAGES_MEASURED}: see docs/performance.md[/]")
    if pace.capped_rows is not None:
        say(f"[dim]Without a secret the source gives {pace.capped_rows} rows a response.[/]")


def _row(one: TablePlan) -> list[str]:
    return [
        f"{one.site}/{one.kind}",
        number(one.pages),
        _ORIGINS[one.origin],
        number(one.requests),
        "" if one.database_bytes is None else _bytes(one.database_bytes),
        "" if one.topic_bytes is None else _bytes(one.topic_bytes),
        escape(one.remark or ""),
    ]


def _time(found: Plan) -> str:
    if found.hours is None:
        return "Time: no request limit is in force; the sites' own speed decides."
    per_minute = f"{found.requests_per_minute:g} requests a minute"
    return f"Time: {duration(found.hours * 3600)}, at {per_minute} over all sites."


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"
