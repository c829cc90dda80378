"""The group `walks`: alone it shows the newest walk of every table, with a word it steers them."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.markup import escape

from pagestream.access import open_cluster
from pagestream.cli import steering
from pagestream.cli.arguments import AsJson, Statuses, site_name_or_none, statuses_of
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.screen import ago, grid, number, results, say, until, write_json
from pagestream.cli.screen import status as coloured
from pagestream.cli.waiting import what_is_tried
from pagestream.controls import STATUSES
from pagestream.progress import outlook
from pagestream.walks import newest_states
from schemas.walks import Mode, WalkState

PANEL: Final = "Walk"


def register(app: typer.Typer) -> None:
    """Add this group."""
    group = typer.Typer(rich_markup_mode="markdown")
    group.callback(invoke_without_command=True)(walks)
    steering.register(group)
    app.add_typer(group, name="walks", rich_help_panel=PANEL)


def walks(
    context: typer.Context,
    *,
    subdomain: Annotated[
        str | None, typer.Option(metavar="SITE", help="Only this site.", callback=site_name_or_none)
    ] = None,
    status: Statuses = None,
    mode: Annotated[
        Mode | None,
        typer.Option(metavar="MODE", help="Those walked in this mode: `full`, `incremental`, …"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest walk of every table; steer walks.

    **done** is the share of the requests that lie behind, **next** what happens by itself: a walk
    by schedule, a request tried again. The words below steer walks; what they ask for is logged,
    done by a walker in order, and answered.

    Example: `pagestream walks --status failed`
    """
    if context.invoked_subcommand is not None:
        if subdomain or status or mode or as_json:
            raise typer.BadParameter(f"options belong behind {context.invoked_subcommand!r}")
        return
    settings = quiet_settings_of(context)
    states = newest_states(settings, open_cluster(settings)).values()
    wanted = statuses_of(status)
    chosen = [
        state
        for state in states
        if subdomain in (None, state.site)
        and (not wanted or state.status in wanted)
        and mode in (None, state.mode)
    ]
    if as_json:
        write_json(chosen)
    elif chosen:
        _show(chosen)
    elif states and (status or mode):
        say("No table has such a walk: see `pagestream walks`")
    else:
        say(f"No such table is known. Add a site: pagestream sites add {subdomain or 'alameda.ca'}")


def _show(states: Sequence[WalkState]) -> None:
    numbers = ("walk", "done", "pages", "rejected")
    headings = ("table", "walk", "mode", "status", *numbers[1:], "begun", "next", "")
    table = grid(*headings, numbers=numbers)
    now = datetime.now(UTC)
    for state in states:
        table.add_row(
            state.table.key,
            str(state.walk) if state.walk else "",
            state.mode if state.walk else "",
            coloured(state.status),
            _share(state),
            number(state.pages),
            number(state.rejected),
            "" if state.started_at is None else ago(state.started_at, now),
            _next(state, now),
            _remarks(state),
        )
    results().print(table)
    counts = Counter(state.status for state in states)
    said = ", ".join(f"{counts[word]:,} {word}" for word in STATUSES if counts[word])
    say(f"[dim]{len(states):,} tables: {said}[/]")


def _share(state: WalkState) -> str:
    if state.walk == 0 or state.status in ("cancelled", "removed"):
        return ""
    share = outlook(state).share
    return "unknown" if share is None else f"{share:.0%}"


def _next(state: WalkState, now: datetime) -> str:
    if state.retry_at is not None:
        return f"{what_is_tried(state)}, {until(state.retry_at, now)}"
    if state.follow_up is not None:
        return f"{state.follow_up.mode} after this"
    if state.next_walk_at is not None:
        return f"{state.next_walk_mode} {until(state.next_walk_at, now)}"
    return ""


def _remarks(state: WalkState) -> str:
    forced = "the next is a full one" if state.full_forced else ""
    return f"[red]{escape(state.error)}[/]" if state.error is not None else forced
