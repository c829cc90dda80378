"""What a person sees: results on stdout; progress, advice and errors on stderr."""

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TextIO

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

_WIDE: Final = 240

STATUS_STYLES: Final = {
    "in_progress": "cyan",
    "verifying": "cyan",
    "completed": "green",
    "unverified": "yellow",
    "paused": "yellow",
    "held": "yellow",
    "failed": "bold red",
    "cancelled": "dim",
    "removed": "dim",
}
"""How each status of a walk is coloured; the word itself always stands beside the colour."""


def results() -> Console:
    """Return the console of stdout: colours only on a terminal, and never with NO_COLOR."""
    return _console(sys.stdout)


def remarks() -> Console:
    """Return the console of stderr."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    # A pipe has no width: without one a table would be cut at 80 columns there.
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, highlight=False, width=width)


def say(text: str) -> None:
    """Write advice or progress to stderr; `text` may hold Rich markup."""
    remarks().print(text)


def complain(text: str) -> None:
    """Write one line on stderr that says what went wrong."""
    line = " ".join(text.split())
    remarks().print(f"[bold red]pagestream:[/] {escape(line)}", soft_wrap=True)


def warn(text: str) -> None:
    """Write one line on stderr that says what to mind."""
    line = " ".join(text.split())
    remarks().print(f"[yellow]pagestream:[/] {escape(line)}", soft_wrap=True)


def write_json(value: Any) -> None:
    """Write a value to stdout as indented JSON, with every field: scripts know no defaults."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(_whole(value))).decode() + "\n")


def _whole(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _whole(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return value


def grid(*headings: str, numbers: tuple[str, ...] = ()) -> Grid:
    """Return an empty table; the columns named in `numbers` are aligned to the right."""
    table = Grid(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in headings:
        aligned = "right" if heading in numbers else "left"
        table.add_column(heading, justify=aligned, no_wrap=heading in numbers)  # type: ignore[arg-type]  # both are among Rich's words
    return table


def pairs(words: Mapping[str, str]) -> str:
    """Return indented lines, each a term and what it means, in two columns.

    They are text, not a table: what is there to be copied must not be broken at the screen's edge.
    """
    width = max(len(term) for term in words)
    lines = (f"  {escape(term):{width}}  [dim]{escape(text)}[/]" for term, text in words.items())
    return "\n".join(line.rstrip() for line in lines)


def show_lines(text: str) -> None:
    """Write lines to stdout as they are, whatever the screen's width."""
    results().print(text, soft_wrap=True)


def status(word: str) -> str:
    """Return a walk's status as markup."""
    style = STATUS_STYLES.get(word)
    return f"[{style}]{word}[/]" if style else word


def number(value: int | None) -> str:
    """Return a count with thousands separated; `unknown` for None."""
    return "unknown" if value is None else f"{value:,}"


def duration(seconds: float) -> str:
    """Return a span of time in the two units that matter: `4 s`, `3 min 20 s`, `2 h 5 min`."""
    total = max(0, round(seconds))
    if total < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{total} s"
    minutes, rest = divmod(total, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004 - two days
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago a time was, in its greatest unit: `3 min ago`."""
    return f"{' '.join(duration((now - then).total_seconds()).split()[:2])} ago"


def until(then: datetime, now: datetime) -> str:
    """Return how long it is until a time, in its greatest unit: `in 3 min`; then `now`."""
    seconds = (then - now).total_seconds()
    return f"in {' '.join(duration(seconds).split()[:2])}" if seconds > 0 else "now"


def span(length: timedelta) -> str:
    """Return a whole number of days or hours: `30 days`."""
    days = length // timedelta(days=1)
    return f"{days} days" if days else f"{length // timedelta(hours=1)} hours"
