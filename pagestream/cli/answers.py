"""What became of requests for many tables, and the question before one that costs much."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import typer
from rich.markup import escape

from pagestream.cli.screen import grid, results, say, warn, write_json
from pagestream.controls import Reply, replies
from pagestream.requests import ask, check_answered
from runtime.errors import NotDone
from runtime.kafka.cluster import Cluster
from runtime.settings import Settings
from schemas.commands import Request

_MOST_ROWS: Final = 20
_STYLES: Final = {
    "done": "[green]done[/]",
    "refused": "[bold red]refused[/]",
    "stale": "[yellow]stale[/]",
    "unanswered": "[yellow]unanswered[/]",
}
_ORDER: Final = ("refused", "stale", "unanswered", "done")


def confirm(question: str, *, yes: bool) -> None:
    """Ask whoever sits at the terminal; NotDone unless `yes` was given, there or before."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotDone(f"nobody is here to answer: {question}", remedy="to do it, add --yes")
    if not typer.confirm(question, err=True):
        raise NotDone("nothing was done")


def ask_and_show(
    settings: Settings,
    cluster: Cluster,
    requests: Sequence[Request],
    *,
    as_json: bool,
    busy: Callable[[str], None] | None = warn,
) -> None:
    """Send requests all together, wait for their answers, and show them; `busy` as in `ask`.

    Raises NotDone when one was refused or stale, Unavailable when no walker has answered one.
    """
    answers = ask(settings, cluster, requests, busy=busy) if requests else {}
    show(replies(requests, answers), as_json=as_json)
    check_answered(requests, answers)


def show(found: Sequence[Reply], *, as_json: bool) -> None:
    """Show replies; NotDone when one was refused or stale."""
    if as_json:
        write_json(found)
    else:
        _show(found)
    failed = [reply for reply in found if reply.failed]
    if failed:
        first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise NotDone(f"{first.site}/{first.kind}: {first.answer}: {first.reason}{more}")


def _show(found: Sequence[Reply]) -> None:
    table = grid("table", "answer", "")
    ordered = sorted(found, key=lambda reply: _ORDER.index(reply.answer))
    for reply in ordered[:_MOST_ROWS]:
        reason = reply.reason or ("logged" if reply.answer == "unanswered" else "")
        table.add_row(f"{reply.site}/{reply.kind}", _STYLES[reply.answer], escape(reason))
    results().print(table)
    if len(ordered) > _MOST_ROWS:
        counts = Counter(reply.answer for reply in found)
        said = ", ".join(f"{counts[word]:,} {word}" for word in _ORDER if counts[word])
        say(f"[dim]{_MOST_ROWS} of {len(ordered):,} are shown: {said}[/]")
