"""Walks as they go on, on a terminal as a table that moves, elsewhere as a line now and then."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid

from pagestream.backfilling import FollowedWalk
from pagestream.cli.screen import duration, grid, number, remarks, say, status

_MOST_ROWS: Final = 12
_LINE_EVERY_SECONDS: Final = 5.0
_SILENCE_SECONDS: Final = 10.0


class _Progress:
    """A figure that should grow, and since when it has not."""

    def __init__(self, now: float) -> None:
        self.figure = -1
        self._changed_at = now

    def see(self, figure: int, now: float) -> None:
        if figure != self.figure:
            self.figure, self._changed_at = figure, now

    def silent_seconds(self, now: float) -> float:
        """Return for how long it has not grown; 0 while that is short enough to be no sign."""
        silent = now - self._changed_at
        return silent if silent > _SILENCE_SECONDS else 0.0


class LiveWalks:
    """Shows walks while they go on. A context manager; call `show` whenever they have changed.

    `clock` gives seconds that never run backwards.
    """

    def __init__(
        self, walks: Sequence[FollowedWalk], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._walks = walks
        self._console = remarks()
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._clock = clock
        self._said_at = clock()
        self._walked = _Progress(self._said_at)
        self._stored = _Progress(self._said_at)

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
        now = self._clock()
        stored = [walk.stored.applied for walk in self._walks if walk.stored is not None]
        self._stored.see(sum(stored), now)
        self._walked.see(sum(walk.changes for walk in self._walks), now)
        if self._console.is_terminal:
            caption = self._hint(now) or "Ctrl-C leaves the walks running."
            self._live.update(walks_table(self._walks, caption))
        elif now - self._said_at >= _LINE_EVERY_SECONDS:
            self._said_at = now
            hint = self._hint(now)
            say(self._line() + (f"; {hint}" if hint else ""))

    def _hint(self, now: float) -> str | None:
        """Return what may be wrong where nothing moves; None while something does."""
        if any(walk.stored is None for walk in self._walks):
            return "the database does not answer: what is stored is unknown"
        silent = self._walked.silent_seconds(now)
        if silent and not all(walk.over for walk in self._walks):
            return (
                f"no progress for {duration(silent)}: does `pagestream run walker` run? "
                "A slow source, or the request limit, can be the reason too"
            )
        if self._stored.silent_seconds(now) and self._stored.figure < self._fetched():
            return "nothing is being stored: does `pagestream run sink` run?"
        return None

    def _fetched(self) -> int:
        return sum(walk.state.pages for walk in self._walks if walk.state is not None)

    def _line(self) -> str:
        unknown = any(walk.stored is None for walk in self._walks)
        stored = "unknown" if unknown else f"{self._stored.figure:,}"
        over = sum(walk.over for walk in self._walks)
        return (
            f"{over} of {len(self._walks)} walks over, "
            f"{self._fetched():,} pages fetched, {stored} stored"
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
