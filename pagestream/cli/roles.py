"""The commands that run a role: `run walker` and `run sink`."""

import typer

from pagestream.cli.groups import add_group
from pagestream.cli.invocation import settings_of

PANEL = "Run"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = add_group(app, "run", PANEL, "Run one of the roles, until SIGTERM or Ctrl-C.")
    group.command()(walker)
    group.command()(sink)


def walker(context: typer.Context) -> None:
    """Fetch the pages of sites, and publish them exactly once.

    It needs Kafka and the source, no database. Several walkers share the work when each has its
    own PAGESTREAM_WALKER_SLOT. The log goes to stderr.

    Example: `PAGESTREAM_HEALTH_PORT=9101 pagestream run walker`
    """
    from pagestream.roles import run_role  # noqa: PLC0415 - no other command needs all of it

    run_role("walker", settings_of(context))


def sink(context: typer.Context) -> None:
    """Store what is published in PostgreSQL, exactly once.

    It needs Kafka and PostgreSQL. Several sinks share the work when each has its own
    PAGESTREAM_SINK_SLOT. The log goes to stderr.

    Example: `PAGESTREAM_HEALTH_PORT=9102 pagestream run sink`
    """
    from pagestream.roles import run_role  # noqa: PLC0415 - no other command needs all of it

    run_role("sink", settings_of(context))
