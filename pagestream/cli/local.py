"""The command `up`: a whole pagestream on this machine, until Ctrl-C."""

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from pagestream.cli.arguments import StateDirectory
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.screen import pairs, say, show_lines, warn
from pagestream.cli.sites import add_site
from pagestream.cli.starting import StartView
from pagestream.demo.city import CITY
from runtime.settings import Settings

if TYPE_CHECKING:
    from pagestream.installation import Installation

PANEL: Final = "Start here"

_TEND_SECONDS: Final = 0.2


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel=PANEL)(up)


def up(
    context: typer.Context,
    *,
    state_dir: StateDirectory = None,
    no_demo_site: Annotated[
        bool, typer.Option("--no-demo-site", metavar="", help="Do not add the demo's city.")
    ] = False,
) -> None:
    """Run all of pagestream here, with real servers, until Ctrl-C.

    Kafka, PostgreSQL, a Datasette that serves one real city, a walker and a sink. Nothing has to
    be installed beside. All data stay in one folder for the next time. Other commands that are
    started in the same folder find these servers by themselves.

    Example: `pagestream up --state-dir /tmp/try-it`
    """
    with running_here(local_settings(context, state_dir)) as installation:
        if not no_demo_site:
            add_site(installation.settings, installation.cluster, CITY)
        _show_places(installation)
        try:
            while True:
                installation.roles.tend()
                time.sleep(_TEND_SECONDS)
        except KeyboardInterrupt:
            say("Stopping…")


def local_settings(context: typer.Context, state_dir: Path | None) -> Settings:
    """Return the settings in force, with the state directory that was given, if any."""
    given = {} if state_dir is None else {"state_directory": state_dir}
    return quiet_settings_of(context, **given)


@contextmanager
def running_here(settings: Settings) -> "Iterator[Installation]":
    """Run a whole pagestream for as long as the block runs, and show how it starts.

    SIGTERM and a closed terminal then end this process as Ctrl-C does: everything in order.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as held:
        with StartView() as view:
            view("pagestream: loading")
            from pagestream.installation import running  # noqa: PLC0415 - slow, so it is shown

            view("pagestream: ready")
            installation = held.enter_context(running(settings, view, warn))
        yield installation


def program() -> str:
    """Return how a person here types this program's name."""
    if shutil.which("pagestream") is not None:
        return "pagestream"
    called = Path(sys.argv[0])
    if called.name != "pagestream":
        return "python -m pagestream"
    return shortened(called)


def shortened(path: Path) -> str:
    """Return a path as it is written from the current folder, where it lies below that."""
    here = Path.cwd()
    whole = path.absolute()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)


def psql(state: Path) -> str:
    """Return a line for a shell that opens psql on the embedded database, without its password."""
    found = "psql"
    if shutil.which("psql") is None:
        from pagestream.embedded.postgres import program as of_postgres  # noqa: PLC0415 - rare

        found = shortened(of_postgres("psql"))
    return f'(. {shortened(state)}/environment; {found} "$PAGESTREAM_DATABASE")'


def _show_places(installation: "Installation") -> None:
    """Say where everything is, and what to do next."""
    state = shortened(installation.state)
    places = {
        "Kafka": installation.settings.kafka,
        "PostgreSQL": psql(installation.state),
        "Source": f"{installation.source} (Datasette with {CITY.site}, and no other site)",
    }
    for role in installation.roles.roles:
        places[role.name.capitalize()] = f"{role.health}/readyz, log in {state}/{role.name}.log"
    places["State"] = f"{state}, settings in {state}/environment"
    name = program()
    show_lines("\n[bold]pagestream is running.[/] Ctrl-C stops it.\n")
    show_lines(pairs(places))
    show_lines("\nIn a second terminal, in this folder:\n")
    show_lines(
        pairs(
            {
                f"{name} backfill --subdomain {CITY.site}": "walk the city",
                f"{name} walks": "see the walks",
                f"{name} lag": "see who is behind",
            }
        )
    )
    show_lines(f"\nIn any other folder, first: . {escape(str(installation.environment))}\n")
