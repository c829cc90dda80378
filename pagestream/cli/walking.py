"""The command `backfill`: starts walks, or lets them go on, and follows until all is stored."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.markup import escape

from pagestream.access import open_cluster
from pagestream.backfilling import FollowedWalk, Wanted, follow, followed, request_for, result_of
from pagestream.cli.answers import ask_and_show
from pagestream.cli.arguments import (
    AsJson,
    DocumentType,
    Mode,
    kinds_of,
    site_or_all,
    tables_of,
)
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.live import LiveWalks
from pagestream.cli.outcome import report_failures, show_results
from pagestream.cli.screen import say, warn, write_json
from pagestream.requests import ask, check_answered
from pagestream.walks import following, newest_states
from runtime.errors import NotDone, Stop, Unavailable
from runtime.kafka.cluster import Cluster
from runtime.settings import Settings
from schemas.commands import Request
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
    """Add this command."""
    app.command(rich_help_panel=PANEL)(backfill)


_VerifyOnly = Annotated[
    bool, typer.Option("--verify-only", metavar="", help="Short for `--mode verify`.")
]
_Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        metavar="",
        help="Go on with failed and paused walks where they stand; begin one only where there "
        "is none to go on with.",
    ),
]
_BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=1000,
        help="Rows of one request; else PAGESTREAM_ROWS_PER_RESPONSE.",
        show_default=False,
    ),
]
_NoWait = Annotated[
    bool, typer.Option("--no-wait", metavar="", help="Ask for the walks, and do not follow.")
]


def backfill(  # noqa: PLR0913 - one for each option
    context: typer.Context,
    *,
    subdomain: Annotated[
        str,
        typer.Option(metavar="SITE", callback=site_or_all, help="A site, or `all` known ones."),
    ],
    document_type: Annotated[
        DocumentType, typer.Option(metavar="TYPE", help="`agenda`, `minutes` or `both`.")
    ] = "both",
    mode: Mode = "auto",
    verify_only: _VerifyOnly = False,
    resume: _Resume = False,
    batch_size: _BatchSize = None,
    no_wait: _NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Walk one site or all of them, and follow until all is stored.

    The walks are done by `pagestream run walker` and stored by `pagestream run sink`; this command
    only asks for them. Ctrl-C leaves them running: `pagestream walks` shows how far they
    are. A table that is being walked already is walked once more after that.

    At the end stands what became of each walk: pages created, updated, unchanged and deleted, rows
    that could not be stored (errors), and of how many expected rows how many are there. The exit
    code is 0 when every walk came to its end; rows that could not be stored do not change it. With
    `--no-wait` it ends when a walker has answered, or after 10 seconds with a warning.

    What it will cost says `pagestream plan`.

    Example: `pagestream backfill --subdomain alameda.ca --document-type minutes`
    """
    if verify_only and mode not in ("auto", "verify"):
        raise typer.BadParameter(f"--verify-only goes with no --mode {mode}")
    settings = quiet_settings_of(context)
    cluster = open_cluster(settings)
    cluster.check_topics()
    states = newest_states(settings, cluster)
    tables = choose_tables(states, subdomain, document_type)
    wanted = Wanted(
        rows=batch_size or settings.rows_per_response,
        mode="verify" if verify_only else mode,
        resume=resume,
    )
    if no_wait:
        _ask_only(settings, cluster, [states[table] for table in tables], wanted, as_json=as_json)
        return
    finished = _walk_and_watch(settings, cluster, tables, wanted)
    if as_json:
        write_json([result_of(walk) for walk in finished])
    else:
        show_results(finished)
    report_failures(finished)


def choose_tables(
    states: Mapping[Table, WalkState], subdomain: str, document_type: str
) -> list[Table]:
    """Return the tables meant, of those that are known; NotDone when a site is not."""
    known = [table for table, state in states.items() if state.status != "removed"]
    if subdomain == "all":
        chosen = [table for table in known if table.kind in kinds_of(document_type)]
    else:
        chosen = tables_of(subdomain, document_type)
    if [table for table in chosen if table not in known]:
        raise NotDone(
            f"site {subdomain} is not known", remedy=f"run `pagestream sites add {subdomain}`"
        )
    if not chosen:
        raise NotDone("no site is known", remedy="run `pagestream sites add SITE`")
    return chosen


def _ask_only(
    settings: Settings,
    cluster: Cluster,
    states: Sequence[WalkState],
    wanted: Wanted,
    *,
    as_json: bool,
) -> None:
    requests = _requests(states, wanted)
    if len(requests) < len(states):
        say(f"[dim]{len(states) - len(requests)} walks go on already[/]")
    try:
        ask_and_show(settings, cluster, requests, as_json=as_json, busy=None)
    except Unavailable as error:
        warn(str(error))


def _requests(states: Sequence[WalkState], wanted: Wanted) -> list[Request]:
    """Return what to ask for, of each table once at most."""
    return [found for state in states if (found := request_for(state, wanted)) is not None]


def _walk_and_watch(
    settings: Settings, cluster: Cluster, tables: Sequence[Table], wanted: Wanted
) -> list[FollowedWalk]:
    try:
        return walk_and_follow(settings, cluster, tables, wanted)
    except KeyboardInterrupt:
        raise NoLongerWatching(
            "no longer watching: what was asked for goes on without this command",
            remedy="look with `pagestream walks`",
        ) from None


def walk_and_follow(
    settings: Settings, cluster: Cluster, tables: Sequence[Table], wanted: Wanted
) -> list[FollowedWalk]:
    """Have each table walked, and show the walks going on until everything is stored.

    Those that the walker refuses are said at once, and are among the walks that are returned.
    """
    from pagestream.stored import StoredFigures  # noqa: PLC0415 - psycopg takes long to import

    figures = StoredFigures(settings)
    try:
        with following(settings, cluster) as follower:
            states = [follower.states[table] for table in tables]
            walks = _begin(settings, cluster, states, wanted)
            begun = [walk for walk in walks if walk.refusal is None]
            if begun:
                with LiveWalks(begun) as live:
                    for _ in follow(begun, follower, figures, _TICK_SECONDS):
                        live.show()
    finally:
        figures.close()
    return walks


def _begin(
    settings: Settings, cluster: Cluster, states: Sequence[WalkState], wanted: Wanted
) -> list[FollowedWalk]:
    """Ask for the walks all together, say the answers, and return the walks that they promise."""
    requests = _requests(states, wanted)
    answers = ask(settings, cluster, requests, busy=warn) if requests else {}
    check_answered(requests, answers)
    _say(list(answers.values()))
    answered = {answer.table: answer for answer in answers.values()}
    return [followed(state, answered.get(state.table)) for state in states]


def _say(answers: Sequence[CommandAnswered]) -> None:
    refused_first = sorted(answers, key=lambda answer: answer.answer == "done")
    lines = [f"{answer.table.key}: {escape(answer.reason or '')}" for answer in refused_first]
    if len(lines) > _MOST_NAMED:
        lines[_MOST_NAMED:] = [f"and {len(lines) - _MOST_NAMED} more"]
    for line in lines:
        say(f"[dim]{line}[/]")
