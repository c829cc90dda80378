"""The request limit: how often this process may ask the sites of one base domain together."""

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from runtime.errors import PagestreamError
from runtime.http import HttpClient
from runtime.metrics import Metrics
from runtime.settings import Settings

DEFAULT_PER_MINUTE: Final = 14.0
"""One less than civic.band allows an address without a secret, over all its subdomains."""


class StopRequestedError(PagestreamError):
    """The process was told to stop while a request waited for its turn: nothing was asked.

    Not an error of any fate: the step is still due, and the next start takes it.
    """


class Stop(Protocol):
    """What can end a wait: `threading.Event`, or `runtime.lifecycle.StopSignal`."""

    def wait(self, seconds: float, /) -> bool:
        """Wait until told to stop, `seconds` at most; return whether it was."""


class Limiter:
    """Spaces requests evenly: the first goes at once, each next 60 / `per_minute` s after it.

    Even spacing is what makes it hold in every window of a minute, not only on average. `clock`
    gives seconds that never run backwards.
    """

    def __init__(
        self,
        per_minute: float | None,
        metrics: Metrics,
        stop: Stop,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spacing = 0.0 if per_minute is None else 60 / per_minute
        self._metrics = metrics
        self._stop = stop
        self._clock = clock
        self._lock = threading.Lock()
        self._next = float("-inf")

    def wait(self) -> None:
        """Wait for this thread's turn; StopRequestedError when told to stop before it came."""
        if not self._spacing:
            return
        asked_at = self._clock()
        with self._lock:
            turn = max(asked_at, self._next)
            self._next = turn + self._spacing
        try:
            while (left := turn - self._clock()) > 0:
                if self._stop.wait(left):
                    raise StopRequestedError("told to stop while waiting for the request limit")
        finally:
            self._metrics.add("pagestream_limiter_wait_seconds", self._clock() - asked_at)


def requests_per_minute(settings: Settings, http: HttpClient) -> float | None:
    """Return the limit in force, or None for none.

    The setting always applies. Unset, loopback and requests that carry the secret have no limit: a
    secret that is withheld (see HttpClient) lifts nothing.
    """
    if settings.requests_per_minute is not None:
        return settings.requests_per_minute
    return None if http.loopback or http.sends_secret else DEFAULT_PER_MINUTE
