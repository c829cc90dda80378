"""The commands about walks: `backfill` starts and follows them, `walks` shows them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from pagestream.access import open_cluster
from pagestream.backfilling import FollowedWalk, WalkResult, follow, result_of, start_walks
from pagestream.cli.arguments import (
    AsJson,
    DocumentType,
    kinds_of,
    site_name,
    site_name_or_none,
    tables_of,
)
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.live import LiveWalks
from pagestream.cli.screen import (
    ago,
    duration,
    grid,
    number,
    results,
    say,
    status,
    warn,
    write_json,
)
from pagestream.progress import outlook
from pagestream.requests import ask, settled
from pagestream.walks import following, newest_states
from runtime.errors import NotDone, Stop, Unavailable
from runtime.kafka.cluster import Cluster
from runtime.settings import Settings
from schemas.commands import StartWalk
from schemas.events import CommandAnswered
from schemas.tables import Table
from schemas.walks import WalkState

PANEL = "Walk"
_TICK_SECONDS = 0.2
_MOST_NAMED = 10


class NoLongerWatching(Stop):
    """Ctrl-C ended the watching; what is watched goes on."""

    exit_code = 130


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(rich_help_panel=PANEL)(backfill)
    app.command(rich_help_panel=PANEL)(walks)


def _site_or_all(name: str) -> str:
    return name if name == "all" else site_name(name)


def backfill(
    context: typer.Context,
    *,
    subdomain: Annotated[
        str,
        typer.Option(metavar="SITE", callback=_site_or_all, help="A site, or `all` known ones."),
    ],
    document_type: Annotated[
        DocumentType, typer.Option(metavar="TYPE", help="`agenda`, `minutes` or `both`.")
    ] = "both",
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=1000,
            help="Rows of one request; else PAGESTREAM_ROWS_PER_RESPONSE.",
            show_default=False,
        ),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", metavar="", help="Ask for the walks, and do not follow.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Walk a site from its beginning, and follow until all is stored.

    The walks are done by `pagestream run walker` and stored by `pagestream run sink`; this command
    only asks for them. Ctrl-C leaves them running: `pagestream walks` shows how far they
    are. A table that is being walked already is walked once more after that.

    With `--no-wait` it ends when a walker has answered, or after 10 seconds with a warning. Rows
    that were rejected are counted in a warning; they do not change the exit code.

    Example: `pagestream backfill --subdomain alameda.ca --document-type minutes`
    """
    settings = quiet_settings_of(context)
    cluster = open_cluster(settings)
    cluster.check_topics()
    rows = batch_size or settings.rows_per_response
    tables, states = choose_tables(settings, cluster, subdomain, document_type)
    if no_wait:
        answers = _ask_only(settings, cluster, start_walks(tables, states, rows))
        if as_json:
            write_json(answers)
        else:
            results().print(_answers(answers))
        return
    finished = _walk_and_watch(settings, cluster, tables, rows)
    if as_json:
        write_json([result_of(walk) for walk in finished])
    else:
        show_results(finished)
    report_failures(finished)


def choose_tables(
    settings: Settings, cluster: Cluster, subdomain: str, document_type: str
) -> tuple[list[Table], Mapping[Table, WalkState]]:
    """Return the tables meant and all states; NotDone when a site is not known."""
    states = newest_states(settings, cluster)
    known = [table for table, state in states.items() if state.status != "removed"]
    if subdomain == "all":
        chosen = [table for table in known if table.kind in kinds_of(document_type)]
    else:
        chosen = tables_of(subdomain, document_type)
    missing = [table for table in chosen if table not in known]
    if missing:
        raise NotDone(
            f"site {subdomain} is not known", remedy=f"run `pagestream sites add {subdomain}`"
        )
    if not chosen:
        raise NotDone("no site is known", remedy="run `pagestream sites add SITE`")
    return chosen, states


def _ask_only(
    settings: Settings, cluster: Cluster, requests: Sequence[StartWalk]
) -> list[CommandAnswered]:
    try:
        return settled(requests, ask(settings, cluster, requests))
    except Unavailable as error:
        warn(str(error))
        return []


def _answers(answers: Sequence[CommandAnswered]) -> str:
    named = [f"{answer.table.key}: {escape(answer.reason or '')}" for answer in answers]
    more = len(named) - _MOST_NAMED
    return "\n".join(named[:_MOST_NAMED] + ([f"and {more} more"] if more > 0 else []))


def _walk_and_watch(
    settings: Settings, cluster: Cluster, tables: Sequence[Table], rows: int
) -> list[FollowedWalk]:
    try:
        return walk_and_follow(settings, cluster, tables, rows)
    except KeyboardInterrupt:
        raise NoLongerWatching(
            "no longer watching: what was asked for goes on without this command",
            remedy="look with `pagestream walks`",
        ) from None


def walk_and_follow(
    settings: Settings, cluster: Cluster, tables: Sequence[Table], rows: int
) -> list[FollowedWalk]:
    """Start one walk of each table and show it going on, until everything is stored."""
    from pagestream.stored import StoredFigures  # noqa: PLC0415 - psycopg takes long to import

    figures = StoredFigures(settings)
    try:
        with following(settings, cluster) as follower:
            requests = start_walks(tables, follower.states, rows)
            answers = settled(requests, ask(settings, cluster, requests, busy=warn))
            walks = [_followed(follower.states[answer.table], answer) for answer in answers]
            say(f"[dim]{_answers(answers)}[/]")
            with LiveWalks(walks) as live:
                for _ in follow(walks, follower, figures, _TICK_SECONDS):
                    live.show()
    finally:
        figures.close()
    return walks


def _followed(before: WalkState, answer: CommandAnswered) -> FollowedWalk:
    return FollowedWalk(before, waits=answer.walk == before.walk)


def show_results(walks: Sequence[FollowedWalk]) -> None:
    """Show what each walk came to."""
    table = grid(
        "table", "status", "pages", "stored", "of these", "time", "pages/s",
        numbers=("pages", "stored", "time", "pages/s"),
    )  # fmt: skip
    for result in map(result_of, walks):
        rate = result.pages / result.seconds if result.seconds else None
        table.add_row(
            f"{result.site}/{result.kind}",
            status(result.status),
            number(result.pages),
            number(result.stored),
            what_became(result),
            "" if result.seconds is None else duration(result.seconds),
            "" if rate is None else f"{rate:,.0f}",
        )
    results().print(table)


def what_became(result: WalkResult) -> str:
    """Return, as markup, how many of a walk's pages were new, changed and so on."""
    counts = {
        "new": result.created,
        "changed": result.updated,
        "unchanged": result.unchanged,
        "[red]rejected[/]": result.rejected + result.dead_lettered,
    }
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)


def report_failures(walks: Sequence[FollowedWalk]) -> None:
    """Raise NotDone when a walk did not come to its end; first warn of rows that were refused."""
    _warn_of_rejected(walks)
    failed = [result_of(walk) for walk in walks if walk.failed]
    if failed:
        first = failed[0]
        became = "did not begin" if first.status == "pending" else f"ended as {first.status}"
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise NotDone(
            f"walk {first.walk} of {first.site}/{first.kind} {became}: "
            f"{first.error or 'no reason was given'}{more}",
            remedy="see `pagestream walks`; `pagestream backfill` walks it anew",
        )


def _warn_of_rejected(walks: Sequence[FollowedWalk]) -> None:
    refused = [(one, one.rejected + one.dead_lettered) for one in map(result_of, walks)]
    named = [f"{count:,} of {one.site}/{one.kind}" for one, count in refused if count]
    if named:
        more = f" and {len(named) - _MOST_NAMED} more tables" if len(named) > _MOST_NAMED else ""
        warn(
            f"rows were rejected: {', '.join(named[:_MOST_NAMED])}{more}; each is in "
            "pagestream.dead_letter in the database, with its reason and as it came"
        )


def walks(
    context: typer.Context,
    *,
    subdomain: Annotated[
        str | None, typer.Option(metavar="SITE", help="Only this site.", callback=site_name_or_none)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest walk of every table.

    Example: `pagestream walks --json | jq '.[] | select(.status == "failed")'`
    """
    settings = quiet_settings_of(context)
    states = newest_states(settings, open_cluster(settings)).values()
    chosen = [state for state in states if subdomain in (None, state.site)]
    if as_json:
        write_json(chosen)
    elif chosen:
        _show_states(chosen)
    else:
        say(f"No such table is known. Add a site: pagestream sites add {subdomain or 'alameda.ca'}")


def _show_states(states: Sequence[WalkState]) -> None:
    numbers = ("walk", "done", "pages", "rejected")
    table = grid("table", "walk", "status", *numbers[1:], "started", "", numbers=numbers)
    now = datetime.now(UTC)
    for state in states:
        share = None if state.walk == 0 else outlook(state).share
        table.add_row(
            state.table.key,
            str(state.walk) if state.walk else "",
            status(state.status),
            "" if state.walk == 0 else "unknown" if share is None else f"{share:.0%}",
            number(state.pages),
            number(state.rejected),
            "" if state.started_at is None else ago(state.started_at, now),
            _remarks(state),
        )
    results().print(table)


def _remarks(state: WalkState) -> str:
    if state.error is not None:
        return f"[red]{escape(state.error)}[/]"
    if state.follow_up is not None:
        return f"another walk ({state.follow_up.mode}) follows"
    return ""
