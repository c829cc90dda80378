"""Walks as they go on, on a terminal as a table that moves, elsewhere as a line now and then."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.progress_bar import ProgressBar
from rich.table import Table as Grid

from pagestream.backfilling import FollowedWalk
from pagestream.cli.moving import Moving
from pagestream.cli.screen import duration, grid, number, say, status
from pagestream.cli.waiting import what_is_tried, why_it_waits
from pagestream.progress import Outlook, RateMeter, together

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


class LiveWalks(Moving):
    """Shows walks while they go on. A context manager; call `show` whenever they have changed.

    `clock` gives seconds that never run backwards.
    """

    def __init__(
        self, walks: Sequence[FollowedWalk], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(transient=True)
        self._walks = walks
        self._clock = clock
        self._said_at = clock()
        self._walked = _Progress(self._said_at)
        self._stored = _Progress(self._said_at)
        self._fetching, self._working = RateMeter(), RateMeter()

    def show(self) -> None:
        """Show the walks as they are now."""
        now = self._clock()
        stored = [walk.stored.applied for walk in self._walks if walk.stored is not None]
        self._stored.see(sum(stored), now)
        self._walked.see(sum(walk.changes for walk in self._walks), now)
        self._fetching.add(now, self._fetched())
        self._working.add(now, sum(walk.work for walk in self._walks))
        hint = self._hint(now)
        if self._moves:
            sums = f"{self._line()}\n" if len(self._walks) > 1 else ""
            caption = sums + (hint or "Ctrl-C leaves the walks running.")
            self._draw(walks_table(self._walks, caption))
        elif now - self._said_at >= _LINE_EVERY_SECONDS:
            self._said_at = now
            say(self._line() + (f"; {hint}" if hint else ""))

    def _hint(self, now: float) -> str | None:
        """Return what may be wrong where nothing moves; None while something does."""
        if any(walk.stored is None for walk in self._walks):
            return "the database does not answer: what is stored is unknown"
        if (waiting := _waiting(self._walks)) is not None:
            return waiting
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
        over, failed = sum(w.over for w in self._walks), sum(w.failed for w in self._walks)
        ahead = together([walk.outlook() for walk in self._walks], self._working.per_second())
        rate = self._fetching.per_second()
        parts = (
            f"{over} of {len(self._walks)} walks over" + (f" ({failed} failed)" if failed else ""),
            f"{self._fetched():,} pages fetched",
            f"{'unknown' if unknown else f'{self._stored.figure:,}'} stored",
            "" if ahead.share is None else f"{ahead.share:.0%} done",
            "" if not rate else f"{rate:,.0f} pages/s",
            "" if not ahead.seconds_left else f"{duration(ahead.seconds_left)} left",
        )
        return ", ".join(filter(None, parts))


def _waiting(walks: Iterable[FollowedWalk]) -> str | None:
    """Return which walk waits for the source, and why, in words; None where none does."""
    now = datetime.now(UTC)
    reasons = [
        f"{walk.table.key}: {why}"
        for walk in walks
        if walk.state is not None and (why := why_it_waits(walk.state, now)) is not None
    ]
    more = f" (and {len(reasons) - 1} more wait)" if len(reasons) > 1 else ""
    return reasons[0] + more if reasons else None


def walks_table(walks: Sequence[FollowedWalk], caption: str) -> Grid:
    """Return the walks that are not yet stored to their end, a row each, within 80 columns."""
    numbers = ("done", "fetched", "stored", "pages/s", "left")
    table = grid("table", "", *numbers, numbers=numbers)
    table.columns[0].no_wrap = True
    shown = [walk for walk in walks if not walk.everything_stored] or list(walks)
    shown.sort(key=_place)
    for walk in shown[:_MOST_ROWS]:
        _add_row(table, walk)
    if len(shown) > _MOST_ROWS:
        table.add_row(f"[dim]and {len(shown) - _MOST_ROWS} more[/]")
    table.caption, table.caption_justify = caption, "left"
    return table


def _place(walk: FollowedWalk) -> int:
    """Return which walks stand first: those under way, then the sink's, then those not begun."""
    if walk.state is None:
        return 2
    return 1 if walk.over else 0


def _add_row(table: Grid, walk: FollowedWalk) -> None:
    if walk.state is None:
        table.add_row(walk.table.key, "[dim]waiting[/]")
        return
    ahead = walk.outlook()
    table.add_row(
        walk.table.key,
        _middle(walk, ahead),
        "unknown" if ahead.share is None else f"{ahead.share:.0%}",
        number(walk.state.pages),
        "unknown" if walk.stored is None else number(walk.stored.pages),
        _rate(walk),
        _left(walk, ahead),
    )


def _middle(walk: FollowedWalk, ahead: Outlook) -> str | ProgressBar:
    if walk.state is None or walk.over:
        return status("pending" if walk.state is None else walk.state.status)
    if walk.state.retry_at is not None:
        return f"[yellow]{what_is_tried(walk.state)}[/]"
    return ProgressBar(total=1.0, completed=ahead.share or 0.0, width=20)


def _rate(walk: FollowedWalk) -> str:
    if walk.state is None or walk.over:
        return ""
    if walk.state.position is not None and walk.state.position.phase == "listing":
        return "listing"
    rate = walk.fetching.per_second()
    return "" if rate is None else f"{rate:,.0f}"


def _left(walk: FollowedWalk, ahead: Outlook) -> str:
    if walk.state is not None and walk.state.retry_at is not None:
        left = (walk.state.retry_at - datetime.now(UTC)).total_seconds()
        return f"in {duration(left)}"
    if walk.over:
        return "" if walk.everything_stored else "storing"
    return "" if ahead.seconds_left is None else duration(ahead.seconds_left)
