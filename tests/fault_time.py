"""A time that tests steer: it can be hurried, and its time of day can jump; shared by processes.

Minutes of waiting take seconds of a test, and nothing else changes: the figures that are waited for
are the program's own. What passes quickly is what the program reads from its clocks; sockets, the
broker and threads live in real time.
"""

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

_FORMAT: Final = struct.Struct("=dddd")
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


class _Course(NamedTuple):
    """From `real` on, when it was `steered`, time runs `speed` times as fast as the real one."""

    real: float
    steered: float
    speed: float
    jumped: float


class SteeredTime:
    """Seconds and a time of day, as a small file says; who wrote the file last has steered it."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._file).st_size == 0:
            now = time.monotonic()
            self._write(_Course(now, now, 1.0, 0.0))

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        course = self._read()
        return course.steered + (time.monotonic() - course.real) * course.speed

    def now(self) -> datetime:
        """Return the time of day, which may have jumped."""
        return _EPOCH + timedelta(seconds=self.monotonic() + self._read().jumped)

    @contextmanager
    def hurried(self, speed: float) -> Iterator[None]:
        """Have time run so many times as fast for the block."""
        before = self._read().speed
        self.set_speed(speed)
        try:
            yield
        finally:
            self.set_speed(before)

    def set_speed(self, speed: float) -> None:
        """Have time run so many times as fast from now on."""
        now = time.monotonic()
        course = self._read()
        steered = course.steered + (now - course.real) * course.speed
        self._write(_Course(now, steered, speed, course.jumped))

    def jump(self, seconds: float) -> None:
        """Set the time of day so many seconds on, or back; what is measured in seconds goes on."""
        course = self._read()
        self._write(course._replace(jumped=course.jumped + seconds))

    def _read(self) -> _Course:
        return _Course(*_FORMAT.unpack(os.pread(self._file, _FORMAT.size, 0)))

    def _write(self, course: _Course) -> None:
        os.pwrite(self._file, _FORMAT.pack(*course), 0)
