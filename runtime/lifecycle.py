"""How a role runs: until told to stop, watched for standing still, alone in its slot."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

from runtime.errors import ConfigurationError, OwnedElsewhere
from runtime.logs import logger

WATCHDOG_EXIT_CODE: Final = 70
STOP_SECONDS: Final = 10.0


class StopSignal:
    """Whether this process was told to stop; a second SIGTERM or SIGINT ends it at once.

    A process that has not ended 10 s after the first is ended as it stands: a server that answers
    nothing must not hold it up, and whatever was not committed is done again by the next start.
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def install(self) -> None:
        """Take over SIGTERM and SIGINT; only the main thread may."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._event.is_set():
            os._exit(128 + number)
        self._event.set()
        overdue = threading.Timer(STOP_SECONDS, _end_overdue)
        overdue.daemon = True
        overdue.start()

    def set(self) -> None:
        """Tell the process to stop, from inside."""
        self._event.set()

    def is_set(self) -> bool:
        """Tell whether the process should stop."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until told to stop, `seconds` at most; return whether it was."""
        return self._event.wait(seconds)


def _end_overdue() -> None:
    logger("stop").critical("stop_overdue", seconds=STOP_SECONDS)
    os._exit(WATCHDOG_EXIT_CODE)


class Watchdog:
    """Ends the process when its loop stands still: a stuck client library cannot be unstuck.

    `beat` is called once a turn of the loop. After `limit` seconds without it the process exits
    with code 70, for its supervisor to start it again.
    """

    def __init__(
        self, limit: float, end: Callable[[int], object] = os._exit, check_every: float = 1.0
    ) -> None:
        self._limit = limit
        self._end = end
        self._check_every = check_every
        self._beat = time.monotonic()
        self._done = threading.Event()

    def beat(self) -> None:
        """Say that the loop has turned."""
        self._beat = time.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for as long as the block runs."""
        self.beat()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        try:
            yield
        finally:
            self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(self._check_every):
            still = time.monotonic() - self._beat
            if still > self._limit:
                logger("watchdog").critical("loop_stuck", seconds=round(still, 1))
                self._end(WATCHDOG_EXIT_CODE)


@contextmanager
def slot_lock(directory: Path, slot: str) -> Iterator[None]:
    """Hold the slot's lock file; OwnedElsewhere when another live process here has it.

    A transactional id belongs to one process at a time: two would fence each other for ever. This
    catches the mistake on one machine; across machines the broker's fencing does.
    """
    with _lock_file(directory, slot) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OwnedElsewhere(
                f"slot {slot} is taken by another process on this machine",
                remedy="stop it, or give this process another slot",
            ) from None
        yield


def _lock_file(directory: Path, slot: str) -> TextIO:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return (directory / f"{slot}.lock").open("w")
    except OSError as error:
        raise ConfigurationError(
            f"cannot keep locks in {directory}: {error.strerror}",
            remedy="set PAGESTREAM_STATE_DIRECTORY to where this user may write",
        ) from error
