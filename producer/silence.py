"""Silence: partitions that were read to their end, and in which nothing has moved since."""

import time
from collections.abc import Callable


class Silence:
    """Since when it has been silent in each partition. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: dict[int, float] = {}

    def begins(self, number: int) -> None:
        """Say that a partition has been read to its end, or is looked at anew from now on."""
        self._since[number] = self._monotonic()

    def ends(self, number: int) -> None:
        """Say that a command has come, or that the partition is not ours any more."""
        self._since.pop(number, None)

    def stirred(self, number: int) -> None:
        """Say that a command of it was decided: what follows from it has yet to come."""
        if number in self._since:
            self.begins(number)

    def longer_than(self, seconds: float) -> list[int]:
        """Return the partitions in which nothing has moved for so long."""
        now = self._monotonic()
        return [number for number, since in self._since.items() if now - since > seconds]
