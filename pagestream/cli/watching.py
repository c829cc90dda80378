"""The commands that look at a running installation: `lag` and `doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

if TYPE_CHECKING:
    from pagestream.diagnosis import Finding
    from pagestream.lag import Lag

from pagestream.access import open_cluster
from pagestream.cli.arguments import AsJson, site_name_or_none
from pagestream.cli.invocation import Invocation, quiet_settings_of
from pagestream.cli.screen import grid, number, results, write_json

PANEL = "Watch"

_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[bold red]fail[/]"}


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(rich_help_panel=PANEL)(doctor)
    app.command(rich_help_panel=PANEL)(lag)


def lag(
    context: typer.Context,
    *,
    by_partition: Annotated[
        bool, typer.Option("--by-partition", metavar="", help="Show each partition that is behind.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far each consumer group is behind.

    Only records that a reader can see are counted: a group that has read them all shows 0. A long
    way behind is shown as the most that it can be (`≤`). What is not known is shown as
    unknown, with the reason.

    Example: `pagestream lag --json`
    """
    from pagestream.lag import lags  # noqa: PLC0415 - psycopg takes long to import

    settings = quiet_settings_of(context)
    found = lags(settings, open_cluster(settings))
    if as_json:
        write_json([_as_json(one) for one in found])
    else:
        _show(found, by_partition=by_partition)


def _show(found: "list[Lag]", *, by_partition: bool) -> None:
    table = grid("group", "members", "topic", "behind", "", numbers=("members", "behind"))
    for one in found:
        behind = "unknown" if one.records is None else one.records.shown()
        remark = escape(one.unknown or "")
        if one.records is not None and one.records.records:
            remark = f"in {len(one.partitions)} partitions"
        table.add_row(one.group, number(one.members), one.topic, behind, remark)
        if by_partition:
            for partition, count in one.partitions.items():
                table.add_row("", "", f"  partition {partition}", count.shown(), "")
    results().print(table)


def _as_json(one: "Lag") -> dict[str, object]:
    return {
        "group": one.group,
        "members": one.members,
        "topic": one.topic,
        "records": None if one.records is None else one.records.records,
        "exact": None if one.records is None else one.records.exact,
        "partitions": {str(p): count.records for p, count in one.partitions.items()},
        "unknown": one.unknown,
    }


def doctor(
    context: typer.Context,
    *,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SITE", callback=site_name_or_none, help="Also ask this site for one row."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check everything that is needed, and say what to do.

    Nothing is changed, and no site is asked unless one is named. The exit code is 0 when nothing
    has failed, else that of the first failure; warnings do not count.

    Example: `pagestream doctor --source alameda.ca`
    """
    from pagestream.diagnosis import examine  # noqa: PLC0415 - what it asks takes long to import

    settings = quiet_settings_of(context)
    findings = list(examine(settings, context.ensure_object(Invocation).up_file, source))
    if as_json:
        write_json(findings)
    else:
        _show_findings(findings)
    failed = [finding for finding in findings if finding.state == "fail"]
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _show_findings(findings: "list[Finding]") -> None:
    table = grid("check", "", "found")
    for finding in findings:
        found = escape(finding.found)
        if finding.remedy is not None:
            found += f"\n[dim]→ {escape(finding.remedy)}[/]"
        table.add_row(finding.check, _MARKS[finding.state], found)
    results().print(table)
