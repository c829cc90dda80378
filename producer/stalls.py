"""The alarm for a silent stall: commands lie in the log, and nothing is being read or decided.

A client library can stop reading a partition without a word while the process looks healthy. Only
the broker can tell, so it is asked now and then, in a thread of its own.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from runtime.errors import Stop
from runtime.health import Readiness
from runtime.logs import logger

STALL_SECONDS: Final = 30.0
_ASK_EVERY_SECONDS: Final = 10.0

Reached = Callable[[], Mapping[int, int]]
"""Says, for each owned partition without pending commands, up to which offset it was read."""

Ends = Callable[[list[int]], Mapping[int, int]]
"""Asks the broker where the committed commands of these partitions end."""


class StallAlarm:
    """Turns the role red when a partition has had unread commands, and no other, for 30 s."""

    def __init__(self, reached: Reached, ends: Ends, readiness: Readiness) -> None:
        self._reached = reached
        self._ends = ends
        self._readiness = readiness
        self._behind_since: dict[int, tuple[int, float]] = {}
        self._done = threading.Event()
        self._log = logger("walker")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for as long as the block runs."""
        threading.Thread(target=self._watch, name="stall-alarm", daemon=True).start()
        try:
            yield
        finally:
            self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(_ASK_EVERY_SECONDS):
            self.check(time.monotonic())

    def check(self, now: float) -> list[int]:
        """Compare once; return the partitions that stand still at `now` (monotonic seconds)."""
        reached = dict(self._reached())
        try:
            ends = self._ends(list(reached)) if reached else {}
        except Stop as error:
            self._readiness.red("broker", str(error))
            return []
        self._readiness.clear("broker")
        behind = {number: offset for number, offset in reached.items() if ends[number] > offset}
        before = self._behind_since
        self._behind_since = {
            number: before[number]
            if number in before and before[number][0] == offset
            else (offset, now)
            for number, offset in behind.items()
        }
        stalled = [
            number
            for number, (_, since) in self._behind_since.items()
            if now - since >= STALL_SECONDS
        ]
        self._tell(stalled)
        return stalled

    def _tell(self, stalled: list[int]) -> None:
        if not stalled:
            self._readiness.clear("stall")
            return
        self._log.error("partitions_stalled", partitions=stalled)
        self._readiness.red(
            "stall",
            f"commands of partitions {stalled} have not been read for {STALL_SECONDS:.0f} s: "
            "restart this walker",
        )
