"""The commands that steer walks: one table, several, or all of them at once."""

from typing import Annotated, Final

import typer

from pagestream.access import open_cluster
from pagestream.cli.answers import ask_and_show, confirm
from pagestream.cli.arguments import AsJson, Every, Mode, Statuses, Targets, Yes, statuses_of
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.screen import say, write_json
from pagestream.controls import CANCEL, FORCE_FULL, PAUSE, RESUME, RETRY, Control, schedule, start
from pagestream.targets import Target, choose
from pagestream.walks import newest_states
from producer.policy import policy_of
from runtime.durations import parse_every
from runtime.settings import Settings

_COSTLY: Final = {
    CANCEL.word: "Cancel the walks of {tables} for good? The next ones begin anew.",
    FORCE_FULL.word: "Have {tables} walked in full next time, every page asked for again?",
}


def register(group: typer.Typer) -> None:
    """Add these commands to a group."""
    for command in (pause, resume, cancel, retry):
        group.command()(command)
    group.command("force-full")(force_full)
    group.command("schedule")(set_schedule)
    group.command("start")(start_walks)


class _Meant:
    """What a command line says of the tables it means; a usage error where it says none."""

    def __init__(
        self, targets: list[Target] | None, status: list[str] | None, *, every: bool
    ) -> None:
        if every == bool(targets or status):
            raise typer.BadParameter("name sites or tables, or give --status, or --all alone")
        self.targets: Final = targets or ()
        self.statuses: Final = statuses_of(status)


def _steer(
    settings: Settings, control: Control, meant: _Meant, *, yes: bool = True, as_json: bool
) -> None:
    cluster = open_cluster(settings)
    cluster.check_topics()
    states = newest_states(settings, cluster)
    chosen = choose(states, control.applies, meant.targets, meant.statuses)
    if not chosen:
        say(f"There is no table to {control.word}: see `pagestream walks`")
    elif control.word in _COSTLY and not meant.targets:
        tables = chosen[0].table.key if len(chosen) == 1 else f"{len(chosen):,} tables"
        confirm(_COSTLY[control.word].format(tables=tables), yes=yes)
    if chosen:
        requests = [control.request(state) for state in chosen]
        ask_and_show(settings, cluster, requests, as_json=as_json)
    elif as_json:
        write_json([])


def pause(
    context: typer.Context,
    targets: Targets = None,
    *,
    status: Statuses = None,
    every: Every = False,
    as_json: AsJson = False,
) -> None:
    """Stop walks before their next request, and keep their place.

    It takes hold at once, also while a request is under way: what that one brings is dropped, and
    asked for again later. A paused walk stays so, through restarts, until it is resumed or
    cancelled; no other walk of its table begins meanwhile.

    Example: `pagestream walks pause alameda.ca`
    """
    meant = _Meant(targets, status, every=every)
    _steer(quiet_settings_of(context), PAUSE, meant, as_json=as_json)


def resume(
    context: typer.Context,
    targets: Targets = None,
    *,
    status: Statuses = None,
    every: Every = False,
    as_json: AsJson = False,
) -> None:
    """Let paused walks go on exactly where they stand.

    Example: `pagestream walks resume --all`
    """
    meant = _Meant(targets, status, every=every)
    _steer(quiet_settings_of(context), RESUME, meant, as_json=as_json)


def cancel(
    context: typer.Context,
    targets: Targets = None,
    *,
    status: Statuses = None,
    every: Every = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """End walks for good, and drop what waits behind them.

    What they have stored stays. The next walk of such a table, by its schedule or by
    `pagestream walks start`, begins at the beginning.

    Example: `pagestream walks cancel alameda.ca/minutes`
    """
    meant = _Meant(targets, status, every=every)
    _steer(quiet_settings_of(context), CANCEL, meant, yes=yes, as_json=as_json)


def retry(
    context: typer.Context,
    targets: Targets = None,
    *,
    status: Statuses = None,
    every: Every = False,
    as_json: AsJson = False,
) -> None:
    """Try failed walks again, from exactly where they failed.

    A walk that waits to be tried again is tried now. One that failed by its verdict has no request
    to try again: its table's ids are compared anew, by a `verify` walk.

    Example: `pagestream walks retry --status failed`
    """
    meant = _Meant(targets, status, every=every)
    _steer(quiet_settings_of(context), RETRY, meant, as_json=as_json)


def force_full(
    context: typer.Context,
    targets: Targets = None,
    *,
    status: Statuses = None,
    every: Every = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have the next walk of a table be a full one.

    Nothing begins yet: it is for the next walk by schedule, or by `pagestream walks start`. It
    counts until a full walk that began after it was verified.

    Example: `pagestream walks force-full alameda.ca/minutes`
    """
    meant = _Meant(targets, status, every=every)
    _steer(quiet_settings_of(context), FORCE_FULL, meant, yes=yes, as_json=as_json)


def start_walks(
    context: typer.Context,
    targets: Targets = None,
    *,
    mode: Mode = "auto",
    status: Statuses = None,
    every: Every = False,
    as_json: AsJson = False,
) -> None:
    """Begin walks, and do not follow them.

    A table that is being walked is walked once more after that, however often this is asked for.
    `pagestream backfill` does the same and shows how it goes on.

    Example: `pagestream walks start alameda.ca --mode verify`
    """
    meant = _Meant(targets, status, every=every)
    settings = quiet_settings_of(context)
    _steer(settings, start(mode, settings.rows_per_response), meant, as_json=as_json)


def _span(text: str) -> str:
    try:
        parse_every(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return text


def set_schedule(  # noqa: PLR0913 - one for each option
    context: typer.Context,
    targets: Targets = None,
    *,
    full: Annotated[
        str | None,
        typer.Option(metavar="SPAN", parser=_span, help="Time between two full walks."),
    ] = None,
    incremental: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN", parser=_span, help="Time between two walks of the dates around today."
        ),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(metavar="SPAN", parser=_span, help="Time between two comparisons of the ids."),
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", metavar="", help="Go by the settings again.")
    ] = False,
    status: Statuses = None,
    every: Every = False,
    as_json: AsJson = False,
) -> None:
    """Set how often tables are walked.

    A time is written `90d`, `12h`, `30m`, or `never`. What is not given stays as the table has it.
    A table without a schedule of its own goes by the settings PAGESTREAM_FULL_EVERY,
    PAGESTREAM_INCREMENTAL_EVERY and PAGESTREAM_VERIFY_EVERY. A full walk counts as an incremental
    one, and both as a comparison of the ids.

    Example: `pagestream walks schedule alameda.ca --full 90d --incremental 1d --verify 7d`
    """
    given = {"full_every": full, "incremental_every": incremental, "verify_every": verify}
    rhythms = {field: parse_every(text) for field, text in given.items() if text is not None}
    if default == bool(rhythms):
        raise typer.BadParameter("give --full, --incremental or --verify, or --default alone")
    meant = _Meant(targets, status, every=every)
    settings = quiet_settings_of(context)
    control = schedule(None if default else rhythms, policy_of(settings).schedule)
    _steer(settings, control, meant, as_json=as_json)
