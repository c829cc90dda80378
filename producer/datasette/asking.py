"""One command's requests: each at its turn, each judged by status before anything is decoded."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from producer.datasette.answers import refusal, usable_body
from producer.pacing import Limiter, StopRequestedError
from runtime.errors import SourceError
from runtime.http import HttpClient, Received
from runtime.metrics import Metrics
from schemas.commands import PrunePages, RefetchPages, TakeStep

Wanted = Callable[[], bool]
"""Whether anybody still waits for what is being asked."""

_PAYMENT_REQUIRED: Final = 402
_TOO_MANY_REQUESTS: Final = 429


class UnwantedError(StopRequestedError):
    """Nobody waits any longer for what a request would have brought: it was not sent."""


def always() -> bool:
    """Say that the answer is wanted, whatever happens."""
    return True


class Answer(msgspec.Struct, frozen=True):
    """The body of a usable response, and when it was asked for and how many seconds it took."""

    body: bytes
    requested_at: datetime
    seconds: float


class Door:
    """The way to all sites: the client, the one limiter of its base domain, and the metrics."""

    def __init__(self, http: HttpClient, limiter: Limiter, metrics: Metrics) -> None:
        self.http: Final = http
        self.limiter: Final = limiter
        self.metrics: Final = metrics


class Asking:
    """What one command asks of its site, while it is wanted.

    Every method raises SourceError, StopRequestedError when told to stop before the request, and
    UnwantedError when `wanted` said no before it.
    """

    def __init__(
        self, door: Door, command: TakeStep | RefetchPages | PrunePages, wanted: Wanted
    ) -> None:
        self._door = door
        self._site = command.site
        self._secret = command.secret
        self._wanted = wanted

    def ask(self, path: str, query: Mapping[str, str]) -> Answer:
        """Return a response that claims to hold rows."""
        answer = self.ask_for_judgement(path, query)
        if isinstance(answer, SourceError):
            raise answer
        return answer

    def ask_for_judgement(self, path: str, query: Mapping[str, str]) -> Answer | SourceError:
        """Return a response that claims to hold rows, or the site's refusal to give any.

        A refusal is what the site itself has said. Raises where it did not come to say anything,
        or said that this is no time to ask.
        """
        received, requested_at, seconds = self._exchange(path, query)
        try:
            return Answer(usable_body(received), requested_at, seconds)
        except SourceError as error:
            if error.reason == "rate_limited":
                raise
            return error

    def _exchange(self, path: str, query: Mapping[str, str]) -> tuple[Received, datetime, float]:
        door = self._door
        if not door.limiter.wait(self._wanted, self._secret):
            raise UnwantedError(f"nobody waits any longer for {self._site}{path}")
        requested_at, began = datetime.now(UTC), time.monotonic()
        try:
            received = door.http.get(self._site, path, query, self._secret)
        finally:
            seconds = time.monotonic() - began
            door.metrics.observe("pagestream_request_seconds", seconds)
        self._heed(received)
        return received, requested_at, seconds

    def _heed(self, received: Received) -> None:
        """Tell the limiter how the request went; SourceError where it was one too many."""
        if received.status in {_PAYMENT_REQUIRED, _TOO_MANY_REQUESTS}:
            error = refusal(received)
            if error.reason == "rate_limited":
                error.retry_after = self._door.limiter.refused(received.retry_after)
                raise error
        self._door.limiter.accepted()
