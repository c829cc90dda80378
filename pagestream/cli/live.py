"""Walks as they go on, on a terminal as a table that moves, elsewhere as a line now and then."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid

from pagestream.backfilling import FollowedWalk
from pagestream.cli.screen import duration, grid, number, remarks, say, status

_MOST_ROWS: Final = 12
_LINE_EVERY_SECONDS: Final = 5.0
_SINK_SILENCE_SECONDS: Final = 10.0


class LiveWalks:
    """Shows walks while they go on. A context manager; call `show` whenever they have changed."""

    def __init__(self, walks: Sequence[FollowedWalk]) -> None:
        self._walks = walks
        self._console = remarks()
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._said_at = time.monotonic()
        self._stored = -1
        self._stored_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self) -> None:
        """Show the walks as they are now."""
        now = time.monotonic()
        stored = sum(walk.stored.applied for walk in self._walks if walk.stored is not None)
        if stored != self._stored:
            self._stored, self._stored_at = stored, now
        if self._console.is_terminal:
            self._live.update(walks_table(self._walks, self._caption(now)))
        elif now - self._said_at >= _LINE_EVERY_SECONDS:
            self._said_at = now
            say(self._line())

    def _caption(self, now: float) -> str:
        if any(walk.stored is None for walk in self._walks):
            return "the database does not answer: what is stored is unknown"
        fetched = sum(walk.state.pages for walk in self._walks if walk.state is not None)
        if self._stored < fetched and now - self._stored_at > _SINK_SILENCE_SECONDS:
            return "nothing is being stored: does `pagestream run sink` run?"
        return "Ctrl-C leaves the walks running."

    def _line(self) -> str:
        states = [walk.state for walk in self._walks if walk.state is not None]
        stored = "unknown" if any(w.stored is None for w in self._walks) else f"{self._stored:,}"
        over = sum(walk.over for walk in self._walks)
        return (
            f"{over} of {len(self._walks)} walks over, "
            f"{sum(state.pages for state in states):,} pages fetched, {stored} stored"
        )


def walks_table(walks: Sequence[FollowedWalk], caption: str) -> Grid:
    """Return the walks that are not yet stored to their end, a row each, within 80 columns."""
    numbers = ("done", "fetched", "stored", "pages/s", "left")
    table = grid("table", "", *numbers, numbers=numbers)
    table.columns[0].no_wrap = True
    shown = [walk for walk in walks if not walk.everything_stored] or walks
    for walk in shown[:_MOST_ROWS]:
        _add_row(table, walk)
    if len(shown) > _MOST_ROWS:
        table.add_row(f"[dim]and {len(shown) - _MOST_ROWS} more[/]")
    table.caption, table.caption_justify = caption, "left"
    return table


def _add_row(table: Grid, walk: FollowedWalk) -> None:
    if walk.state is None:
        table.add_row(walk.table.key, "[dim]waiting[/]")
        return
    ahead, rate = walk.outlook(), walk.fetching.per_second()
    listing = walk.state.position is not None and walk.state.position.phase == "listing"
    middle: str | ProgressBar
    if walk.over:
        middle, left = status(walk.state.status), "" if walk.everything_stored else "storing"
    else:
        middle = ProgressBar(total=1.0, completed=ahead.share or 0.0, width=20)
        left = "" if ahead.seconds_left is None else duration(ahead.seconds_left)
    table.add_row(
        walk.table.key,
        middle,
        "unknown" if ahead.share is None else f"{ahead.share:.0%}",
        number(walk.state.pages),
        "unknown" if walk.stored is None else number(walk.stored.pages),
        "listing" if listing else "" if rate is None or walk.over else f"{rate:,.0f}",
        left,
    )
