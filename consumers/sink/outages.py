"""Waiting for a server: red, with growing pauses, and never a record set aside for it."""

import random
import time
from typing import Final

from runtime.errors import BrokerUnavailable, DatabaseUnavailable, Unavailable
from runtime.health import Readiness
from runtime.lifecycle import StopSignal
from runtime.logs import logger
from runtime.metrics import Metrics

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 2.0


class Outage:
    """Waits out an outage: red, with growing pauses, until it is over or the process must stop.

    `cause` is the readiness cause, a word of its own for each who waits.
    """

    def __init__(
        self, cause: str, stop: StopSignal, metrics: Metrics, readiness: Readiness
    ) -> None:
        self._cause = cause
        self._stop = stop
        self._metrics = metrics
        self._readiness = readiness
        self._log = logger("sink")
        self._began: float | None = None
        self._pause = _FIRST_WAIT

    @property
    def lasts(self) -> bool:
        """Whether the server was away at the last try."""
        return self._began is not None

    def wait(self, error: DatabaseUnavailable | BrokerUnavailable | Unavailable) -> bool:
        """Wait before the next try; return False when the process must stop instead."""
        if self._began is None:
            self._began = time.monotonic()
            self._log.warning("waiting", cause=self._cause, error=str(error))
        server = "PostgreSQL" if isinstance(error, DatabaseUnavailable) else "Kafka"
        self._readiness.red(self._cause, f"waiting for {server}: {error}")
        self._metrics.add("pagestream_database_retries")
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_WAIT)
        # Spread by chance, so that sinks do not all come back in the same moment.
        return not self._stop.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def over(self) -> None:
        """Note that the server answered."""
        if self._began is not None:
            seconds = round(time.monotonic() - self._began, 1)
            self._log.info("waited", cause=self._cause, seconds=seconds)
            self._readiness.clear(self._cause)
        self._began = None
        self._pause = _FIRST_WAIT
