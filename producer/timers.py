"""Timers: what a state has happen by itself, at its time, as commands like anybody's.

1. They are made of states alone, when one changes or is restored, so that no crash loses any.
2. The wall clock says how long one waits, once; from then on only the monotonic clock counts, and
   never for longer than the timer's own span. A clock that jumps delays nothing beyond that.
3. One that has gone off is set again: its command may have been lost with its transaction. The
   state that the command makes has other timers, or none. Until then it goes off again after its
   span, or `AGAIN_SECONDS` where that is longer, and `decide` knows a double by its due time.
"""

import heapq
import itertools
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from producer.decide import Timer
from schemas.commands import Command
from schemas.tables import Table

AGAIN_SECONDS: Final = 60.0
_AFTER_FAILURE_SECONDS: Final = 1.0

Clock = Callable[[], datetime]
"""Tells the time of day, in UTC."""


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


class Armed(msgspec.Struct, eq=False):
    """A timer that is set to go off `at`, in monotonic seconds; None when its state is no more."""

    command: Command
    seconds: float
    at: float | None = None


class Timers:
    """The timers of all owned tables. `monotonic` gives seconds that never run backwards."""

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._of: dict[int, dict[Table, list[Armed]]] = {}
        self._queue: list[tuple[float, int, Armed]] = []
        self._order = itertools.count()

    def arm(self, number: int, table: Table, timers: Iterable[Timer]) -> None:
        """Set the timers of a table in partition `number`, instead of those that it had.

        One that it had already, with the same command, goes on as it was set.
        """
        tables = self._of.setdefault(number, {})
        before = tables.pop(table, [])
        kept = [self._kept(before, timer) or self._set(timer) for timer in timers]
        for armed in before:
            if armed not in kept:
                armed.at = None
        if kept:
            tables[table] = kept

    def _kept(self, before: Iterable[Armed], timer: Timer) -> Armed | None:
        return next((armed for armed in before if armed.command == timer.command), None)

    def _set(self, timer: Timer) -> Armed:
        armed = Armed(timer.command, timer.seconds)
        left = (timer.at - self._clock()).total_seconds()
        self._put_off(armed, min(max(left, 0.0), timer.seconds))
        return armed

    def _put_off(self, armed: Armed, seconds: float) -> None:
        armed.at = self._monotonic() + seconds
        heapq.heappush(self._queue, (armed.at, next(self._order), armed))

    def disarm(self, number: int) -> None:
        """Forget the timers of a partition."""
        for timers in self._of.pop(number, {}).values():
            for armed in timers:
                armed.at = None

    def gone_off(self, most: int) -> list[Armed]:
        """Return timers whose time has come, `most` of them, in order; each is set again."""
        found: list[Armed] = []
        now = self._monotonic()
        while self._queue and self._queue[0][0] <= now and len(found) < most:
            at, _, armed = heapq.heappop(self._queue)
            if armed.at == at:
                found.append(armed)
        for armed in found:
            self._put_off(armed, max(armed.seconds, AGAIN_SECONDS))
        return found

    def not_given(self, timers: Iterable[Armed]) -> None:
        """Have timers go off again soon: nobody knows whether their commands are in the log."""
        for armed in timers:
            if armed.at is not None:
                self._put_off(armed, _AFTER_FAILURE_SECONDS)
