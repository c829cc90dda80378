"""The request limit: how often this process asks the sites of one base domain, and when not at all.

A front end counts the requests of one address over all its sites together, so there is one limiter
for all of them. Each request goes through it in three steps, by one thread:

1. `wait` until it may be sent: its turn has come, and no refusal holds requests back.
2. Send it.
3. Say how it went: `refused` when the answer was "too many requests", which holds back all
   requests for a while, or `accepted` when it was any other. No answer says nothing.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from runtime.errors import PagestreamError
from runtime.health import Readiness
from runtime.http import HttpClient
from runtime.logs import logger
from runtime.metrics import Metrics
from runtime.settings import Settings

DEFAULT_PER_MINUTE: Final = 14.0
"""One less than civic.band allows an address without a secret, over all its subdomains."""

SLACK_SECONDS: Final = 2.0
"""How much longer than another one request may take from its turn to the source.

The source counts when requests arrive. One that needs a connection first arrives later than one
that does not, so a minute's requests are spread over a minute and this.
"""

HOLD_SECONDS: Final = 61.0
"""How long nothing is asked after a refusal: the minute that is counted, and a second."""

CIRCUIT_AFTER: Final = 3
"""The refusal in a row from which on CIRCUIT_SECONDS are waited."""

CIRCUIT_SECONDS: Final = 900.0
"""How often a source that keeps refusing is asked whether it still does."""

_LOOK_SECONDS: Final = 0.5
# For who is next when the one before is late in taking its turn.
_SOON_SECONDS: Final = 0.001


class StopRequestedError(PagestreamError):
    """The process was told to stop while a request waited for its turn: nothing was asked.

    Not an error of any fate: the step is still due, and the next start takes it.
    """


class Stop(Protocol):
    """What can end a wait: `threading.Event`, or `runtime.lifecycle.StopSignal`."""

    def wait(self, seconds: float, /) -> bool:
        """Wait until told to stop, `seconds` at most; return whether it was."""


class _Sent(threading.local):
    """When this thread's newest request was let go, on the limiter's clock."""

    at: float = math.inf


def _always(*_: object) -> bool:
    return True


class Limiter:
    """Spaces requests evenly, first come first served, and holds them back after refusals.

    The first goes at once, each next (60 + SLACK_SECONDS) / `per_minute` s after the one before it
    went; None sets no limit. Even spacing is what makes it hold in every window of a minute, not
    only on average.
    `needs_turn` tells of a secret's name, or None, whether a request with it falls under the limit.
    `clock` gives seconds that never run backwards. `readiness` is red while the source keeps
    refusing.
    """

    def __init__(
        self,
        per_minute: float | None,
        metrics: Metrics,
        stop: Stop,
        *,
        clock: Callable[[], float] = time.monotonic,
        needs_turn: Callable[[str | None], bool] = _always,
        readiness: Readiness | None = None,
    ) -> None:
        self._spacing = 0.0 if per_minute is None else (60 + SLACK_SECONDS) / per_minute
        self._metrics = metrics
        self._stop = stop
        self._clock = clock
        self._needs_turn = needs_turn
        self._readiness = readiness or Readiness()
        self._lock = threading.Lock()
        self._waiting: deque[object] = deque()
        self._next = -math.inf
        self._sent = _Sent()
        self._refusals = 0
        self._held_since = -math.inf
        self._opens = -math.inf

    def wait(self, wanted: Callable[[], bool] = _always, secret: str | None = None) -> bool:
        """Wait until this thread may send a request; return whether it is still `wanted` then.

        One that is wanted no longer takes no turn: those behind it move up. `secret` names the
        secret that the request carries, if it is one of its own. StopRequestedError when told to
        stop; SourceError when there is no such secret.
        """
        limited = self._spacing > 0 and self._needs_turn(secret)
        waiter = object()
        asked_at = self._clock()
        if limited:
            with self._lock:
                self._waiting.append(waiter)
        try:
            return self._wait(waiter, wanted)
        finally:
            with self._lock:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
            self._metrics.add("pagestream_limiter_wait_seconds", self._clock() - asked_at)

    def refused(self, retry_after: float | None = None) -> float:
        """Hold back every request after "too many"; return the seconds until the next may go.

        `retry_after` is how many seconds the source asked for: as many are waited, and never fewer
        than HOLD_SECONDS, or CIRCUIT_SECONDS from the third refusal in a row on. Requests that were
        under way when the hold began are no further refusals; the source's word counts all the
        same. To be called by the thread that waited.
        """
        self._metrics.add("pagestream_source_refusals")
        with self._lock:
            now = self._clock()
            counts = self._sent_since_hold(now)
            if counts:
                self._refusals += 1
                self._held_since = now
            refusals = self._refusals
            own = CIRCUIT_SECONDS if refusals >= CIRCUIT_AFTER else HOLD_SECONDS
            seconds = max(own if counts else 0.0, retry_after or 0.0)
            self._opens = max(self._opens, now + seconds)
            left = self._opens - now
        if counts:
            self._say_refused(refusals, left)
        return left

    def accepted(self) -> None:
        """Say that the source answered anything but "too many": refusals begin to count anew.

        An answer to what was sent before the hold says nothing. To be called by the thread that
        waited.
        """
        with self._lock:
            if not self._refusals or not self._sent_since_hold(self._clock()):
                return
            refusals, self._refusals = self._refusals, 0
        self._metrics.put("pagestream_source_refusals_in_a_row", 0)
        self._readiness.clear("source_refuses")
        logger("limiter").info("source_accepts_again", refusals=refusals)

    def _wait(self, waiter: object, wanted: Callable[[], bool]) -> bool:
        seconds = 0.0
        while True:
            if self._stop.wait(seconds):
                raise StopRequestedError("told to stop while waiting for the request limit")
            if not wanted():
                return False
            left = self._take(waiter)
            if left <= 0:
                return True
            seconds = min(left, _LOOK_SECONDS)

    def _take(self, waiter: object) -> float:
        """Take this waiter's turn and return 0, or return the seconds until it is worth a look."""
        with self._lock:
            now = self._clock()
            limited = waiter in self._waiting
            ahead = self._waiting.index(waiter) if limited else 0
            turn = self._next + ahead * self._spacing if limited else -math.inf
            left = max(turn, self._opens) - now
            if ahead == 0 and left <= 0:
                if limited:
                    self._waiting.popleft()
                    self._next = now + self._spacing
                self._sent.at = now
                return 0.0
            return max(left, _SOON_SECONDS)

    def _sent_since_hold(self, now: float) -> bool:
        """Tell whether this thread's request was sent after the newest hold: it says news."""
        return self._opens <= now and self._sent.at > self._held_since

    def _say_refused(self, refusals: int, seconds: float) -> None:
        self._metrics.put("pagestream_source_refusals_in_a_row", refusals)
        logger("limiter").warning(
            "source_refused", refusals_in_a_row=refusals, asked_again_in=round(seconds, 1)
        )
        if refusals >= CIRCUIT_AFTER or seconds > HOLD_SECONDS:
            self._readiness.red(
                "source_refuses",
                f"the source has refused {refusals} requests in a row as too many: nothing is "
                f"asked of any site for {max(1, round(seconds / 60))} minutes",
            )


def limiter(
    settings: Settings,
    http: HttpClient,
    metrics: Metrics,
    stop: Stop,
    readiness: Readiness | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Limiter:
    """Return the limiter of what `http` asks: a process has one, for it has one base domain."""
    per_minute = requests_per_minute(settings, http)
    for_all = settings.requests_per_minute is not None
    return Limiter(
        per_minute,
        metrics,
        stop,
        clock=clock,
        needs_turn=lambda secret: for_all or not http.carries_secret(secret),
        readiness=readiness,
    )


def requests_per_minute(settings: Settings, http: HttpClient) -> float | None:
    """Return the limit in force for requests without a secret of their own, or None for none.

    The setting always applies, to all. Unset, loopback and requests that carry a secret have no
    limit: a secret that is withheld (see HttpClient) lifts nothing.
    """
    if settings.requests_per_minute is not None:
        return settings.requests_per_minute
    return None if http.loopback or http.sends_secret else DEFAULT_PER_MINUTE
