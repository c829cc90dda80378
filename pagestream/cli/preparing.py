"""The commands that lay the ground: `topics` and `migrate`."""

from typing import Annotated

import typer
from rich.markup import escape

from pagestream.access import open_cluster
from pagestream.cli.arguments import AsJson
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.screen import grid, number, results, say, span, write_json
from pagestream.counting import Count, records_in_topics
from runtime.kafka.cluster import TopicState
from schemas.tables import PARTITIONS

PANEL = "Set up"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(rich_help_panel=PANEL)(migrate)
    app.command(rich_help_panel=PANEL)(topics)


def migrate(context: typer.Context) -> None:
    """Bring the database's schema up to date.

    All in one transaction; running it again changes nothing. It needs a role that may create
    schemas in the database that PAGESTREAM_DATABASE names.

    Example: `pagestream migrate`
    """
    from runtime.database.migrating import migrate as apply_migrations  # noqa: PLC0415 - Alembic takes a second to import

    done = apply_migrations(quiet_settings_of(context))
    for notice in done.notices:
        say(f"[yellow]note:[/] {escape(notice)}")
    if done.before == done.after:
        results().print(f"The schema is {done.after}: nothing to do.")
    else:
        before = "an empty database" if done.before is None else done.before
        results().print(f"The schema is now {done.after}; it was {before}.")


def topics(
    context: typer.Context,
    *,
    create: Annotated[
        bool, typer.Option("--create", metavar="", help="Create those that are missing.")
    ] = False,
    count: Annotated[
        bool, typer.Option("--count", metavar="", help="Count every record, however many.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the topics, and whether each is as declared.

    Records are those that a reader can see: markers of transactions are not counted. Of a large
    topic only the most that it can hold is shown, unless `--count` is given.

    Example: `pagestream topics --create`
    """
    settings = quiet_settings_of(context)
    cluster = open_cluster(settings)
    if create:
        created = cluster.create_topics()
        say(f"created: {', '.join(created)}" if created else "nothing to create")
    states = cluster.topics()
    present = [state.topic for state in states if state.partitions == PARTITIONS]
    counts = records_in_topics(settings, cluster, present, everything=count)
    if as_json:
        write_json([_as_json(state, counts.get(state.topic.name)) for state in states])
    else:
        _show(states, counts)
    cluster.check_topics()


def _show(states: list[TopicState], counts: dict[str, Count]) -> None:
    table = grid(
        "topic", "partitions", "kept", "records", "state", numbers=("partitions", "records")
    )
    for state in states:
        counted = counts.get(state.topic.name)
        table.add_row(
            state.name,
            number(state.partitions) if state.topic_id else "",
            "newest of each key" if state.topic.retention is None else span(state.topic.retention),
            "" if counted is None else counted.shown(),
            f"[red]{escape('; '.join(state.wrong))}[/]" if state.wrong else "[green]ok[/]",
        )
    results().print(table)


def _as_json(state: TopicState, counted: Count | None) -> dict[str, object]:
    retention = state.topic.retention
    return {
        "topic": state.name,
        "id": state.topic_id,
        "purpose": state.topic.purpose,
        "partitions": state.partitions,
        "retention_seconds": None if retention is None else int(retention.total_seconds()),
        "compacted": retention is None,
        "records": None if counted is None else counted.records,
        "records_exact": None if counted is None else counted.exact,
        "wrong": state.wrong,
    }
