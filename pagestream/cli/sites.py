"""The commands about sites: `sites add` and `sites list`."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from pagestream.access import open_cluster
from pagestream.cli.arguments import AsJson, site_name, tables_of
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.screen import grid, number, results, say, warn, write_json
from pagestream.requests import ask, new_id, sender, settled
from pagestream.walks import known_sites
from runtime.kafka.cluster import Cluster
from runtime.settings import Settings
from schemas.commands import AddSite
from schemas.records import Municipality

PANEL = "Set up"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(
        help="Add sites, and list them.", no_args_is_help=True, rich_markup_mode="markdown"
    )
    group.command()(add)
    group.command("list")(list_)
    app.add_typer(group, name="sites", rich_help_panel=PANEL)


def add(
    context: typer.Context,
    subdomain: Annotated[
        str,
        typer.Argument(
            metavar="SITE", callback=site_name, help="The site's name below the base domain."
        ),
    ],
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
) -> None:
    """Make a site known, with its tables of agendas and of minutes.

    Nothing is fetched yet: that is what `pagestream backfill` is for. Adding a site again
    replaces what is known of it.

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
    results().print(f"{escape(subdomain)}: {add_site(settings, cluster, municipality)}")
    say(f"[dim]Walk it:[/] pagestream backfill --subdomain {escape(subdomain)}")


def add_site(settings: Settings, cluster: Cluster, municipality: Municipality) -> str:
    """Ask for both tables of a site to be known, and return the walker's word on it."""
    requests = [
        AddSite(
            site=table.site,
            kind=table.kind,
            command_id=new_id(),
            sent_by=sender(),
            sent_at=datetime.now(UTC),
            municipality=municipality,
        )
        for table in tables_of(municipality.site)
    ]
    answers = settled(requests, ask(settings, cluster, requests, busy=warn))
    return answers[0].reason or answers[0].answer


def list_(
    context: typer.Context,
    *,
    as_json: AsJson = False,
) -> None:
    """List the sites that were added, as Kafka has them.

    Example: `pagestream sites list --json`
    """
    settings = quiet_settings_of(context)
    sites = known_sites(settings, open_cluster(settings))
    if as_json:
        write_json(sites)
        return
    if not sites:
        say("No site is known yet. Add one: pagestream sites add alameda.ca")
        return
    table = grid("site", "name", "state", "country", "kind", "pages it claims", "")
    for site in sites:
        claimed = "" if site.pages is None else number(site.pages)
        described = (site.name, site.state, site.country, site.municipality_kind)
        words = [escape(word or "") for word in described]
        table.add_row(site.site, *words, claimed, "[dim]removed[/]" if site.removed else "")
    results().print(table)
