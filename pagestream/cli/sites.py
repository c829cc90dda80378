"""The commands about sites: `sites add`, `sites remove` and `sites list`."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape

from pagestream.access import open_cluster
from pagestream.cli.answers import ask_and_show, confirm
from pagestream.cli.arguments import AsJson, Yes, site_name, tables_of
from pagestream.cli.groups import add_group
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.screen import ago, grid, number, results, say, until, warn, write_json
from pagestream.requests import ask, settled
from pagestream.sites import (
    Site,
    SiteTable,
    known,
    requests_to_add,
    requests_to_remove,
    stored_pages,
)
from pagestream.walks import known_sites, newest_states
from runtime.durations import write_every
from runtime.errors import NotDone
from runtime.kafka.cluster import Cluster
from runtime.secrets import is_secret_name
from runtime.settings import Settings
from schemas.records import Municipality
from schemas.walks import Schedule

PANEL: Final = "Set up"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = add_group(app, "sites", PANEL, "Add sites, remove and list them.")
    group.command()(add)
    group.command()(remove)
    group.command("list")(list_)


def _secret_name(name: str | None) -> str | None:
    if name is not None and not is_secret_name(name):
        # Not repeated: somebody may have given the secret itself.
        raise typer.BadParameter(
            "a secret's name is lower-case letters, digits and underscores; its value is never "
            "given here"
        )
    return name


_Site = Annotated[
    str,
    typer.Argument(
        metavar="SITE", callback=site_name, help="The site's name below the base domain."
    ),
]


def add(  # noqa: PLR0913 - one for each option
    context: typer.Context,
    subdomain: _Site,
    *,
    name: Annotated[str | None, typer.Option(help="The municipality's name.")] = None,
    state: Annotated[str | None, typer.Option(help="Its state or province.")] = None,
    country: Annotated[str | None, typer.Option(help="Its country.")] = None,
    municipality_kind: Annotated[
        str | None, typer.Option(help="What it is: city, county, school district.")
    ] = None,
    latitude: Annotated[
        float | None, typer.Option(min=-90, max=90, help="Its latitude, in degrees.")
    ] = None,
    longitude: Annotated[
        float | None, typer.Option(min=-180, max=180, help="Its longitude, in degrees.")
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=_secret_name,
            help="The name of the site's own service secret. The walker finds its value in "
            "`PAGESTREAM_SECRET_<NAME>`, or in a file in PAGESTREAM_SECRETS_DIRECTORY.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a site known, with its tables of agendas and of minutes.

    It is walked by schedule from now on; `pagestream backfill` walks it at once. Adding a site
    again replaces all that is known of it, the secret's name too, and brings one back that was
    removed.

    Example: `pagestream sites add alameda.ca --name Alameda --state CA`
    """
    settings = quiet_settings_of(context)
    cluster = open_cluster(settings)
    cluster.check_topics()
    municipality = Municipality(
        site=subdomain,
        name=name,
        state=state,
        country=country,
        municipality_kind=municipality_kind,
        latitude=latitude,
        longitude=longitude,
    )
    word = add_site(settings, cluster, municipality, secret)
    results().print(f"{escape(subdomain)}: {word}")
    say(f"[dim]Walk it:[/] pagestream backfill --subdomain {escape(subdomain)}")


def add_site(
    settings: Settings, cluster: Cluster, municipality: Municipality, secret: str | None = None
) -> str:
    """Ask for both tables of a site to be known, and return the walker's word on it."""
    requests = requests_to_add(municipality, secret)
    answers = settled(requests, ask(settings, cluster, requests, busy=warn))
    return answers[0].reason or answers[0].answer


def remove(
    context: typer.Context, subdomain: _Site, *, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Remove a site: its pages are deleted, and nothing walks it any more.

    Walks of it that go on end at once. What Kafka holds of it stays for as long as its topics keep
    records. `pagestream sites add` brings the site back; its pages then have to be fetched again.

    Example: `pagestream sites remove alameda.ca`
    """
    settings = quiet_settings_of(context)
    cluster = open_cluster(settings)
    cluster.check_topics()
    states = newest_states(settings, cluster)
    statuses = {states[table].status for table in tables_of(subdomain) if table in states}
    if not statuses:
        raise NotDone(f"site {subdomain} is not known", remedy="see `pagestream sites list`")
    if statuses != {"removed"}:
        confirm(_question(settings, subdomain), yes=yes)
    records = {one.site: one for one in known_sites(settings, cluster)}
    record = records.get(subdomain, Municipality(site=subdomain))
    ask_and_show(settings, cluster, requests_to_remove(record), as_json=as_json)


def _question(settings: Settings, site: str) -> str:
    pages = stored_pages(settings, site)
    how_many = "all its pages" if pages is None else f"its {pages:,} pages"
    return f"Remove {site}, and delete {how_many} from the database?"


def list_(
    context: typer.Context,
    *,
    as_json: AsJson = False,
) -> None:
    """List the sites that were added, as Kafka has them.

    **as of** is the time for which the copy was last found complete. Where a site's two tables
    differ, both are shown, the agendas' first.

    Example: `pagestream sites list --json`
    """
    settings = quiet_settings_of(context)
    cluster = open_cluster(settings)
    sites = known(known_sites(settings, cluster), newest_states(settings, cluster))
    if as_json:
        write_json([msgspec.structs.asdict(one.record) | {"tables": one.tables} for one in sites])
    elif sites:
        _show(sites)
    else:
        say("No site is known yet. Add one: pagestream sites add alameda.ca")


def _show(sites: list[Site]) -> None:
    table = grid("site", "name", "state", "pages", "schedule", "next walk", "secret", "as of")
    now = datetime.now(UTC)
    for site in sites:
        record = site.record
        table.add_row(
            record.site,
            escape(record.name or ""),
            escape(record.state or ""),
            *(_both(site, show) for show in (_pages, _schedule, _next_walk(now), _secret)),
            "[dim]removed[/]" if record.removed else _both(site, _as_of(now)),
        )
    results().print(table)


def _both(site: Site, show: Callable[[SiteTable], str]) -> str:
    """Return what is to be shown of both tables, once where they do not differ."""
    return " / ".join(filter(None, dict.fromkeys(show(table) for table in site.tables)))


def _pages(table: SiteTable) -> str:
    return "" if table.pages is None else number(table.pages)


def _schedule(table: SiteTable) -> str:
    return "default" if table.schedule is None else schedule_in_words(table.schedule)


def schedule_in_words(schedule: Schedule) -> str:
    """Return a schedule in one line: `full 90d, incremental 1d, verify never`."""
    return (
        f"full {write_every(schedule.full_every)}, "
        f"incremental {write_every(schedule.incremental_every)}, "
        f"verify {write_every(schedule.verify_every)}"
    )


def _next_walk(now: datetime) -> Callable[[SiteTable], str]:
    def show(table: SiteTable) -> str:
        if table.next_walk_at is None:
            return table.status if table.status in ("in_progress", "verifying", "paused") else ""
        return f"{table.next_walk_mode} {until(table.next_walk_at, now)}"

    return show


def _secret(table: SiteTable) -> str:
    return escape(table.secret or "")


def _as_of(now: datetime) -> Callable[[SiteTable], str]:
    def show(table: SiteTable) -> str:
        return "never" if table.as_of is None else ago(table.as_of, now)

    return show
