"""The source's door: one command is one response, or a SourceError."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from producer.datasette.asking import Asking, Door, Wanted, always
from producer.datasette.listing import download_listing
from producer.datasette.queries import TABLES
from producer.datasette.repairs import download_repair
from producer.datasette.sql import SqlAccess
from producer.datasette.walking import download_pages
from producer.pacing import Stop, limiter
from producer.responses import ListingResponse, PagesResponse, RepairResponse
from runtime.errors import SourceError
from runtime.health import Readiness
from runtime.http import HttpClient
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.commands import PrunePages, RefetchPages, TakeStep

__all__ = ["TABLES", "DatasetteSource"]

Response = PagesResponse | ListingResponse | RepairResponse


class DatasetteSource:
    """Fetches what a command asks for; safe to use from many threads, with one limiter for all.

    `stop` ends a wait for the limiter, and `readiness` is red while the source refuses us. `http`
    is the door that requests go through, by default one of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        stop: Stop,
        http: HttpClient | None = None,
        readiness: Readiness | None = None,
    ) -> None:
        self._http = http or HttpClient(settings)
        self._metrics = metrics
        pace = limiter(settings, self._http, metrics, stop, readiness)
        self._door = Door(self._http, pace, metrics)
        self._sql = SqlAccess()

    def download(
        self, command: TakeStep | RefetchPages | PrunePages, wanted: Wanted
    ) -> Callable[[], Response]:
        """Make the command's requests and return what decodes and judges the answers.

        Most commands are one request; `wanted` is asked before each whether to make it still. Both
        this and what it returns raise SourceError with one of `runtime.http.Reason`, also where an
        answer contradicts the command or itself. StopRequestedError when a request was not made:
        the process is to stop, or nobody wanted it any longer.
        """
        with self._failures_counted():
            decode = self._begun(command, Asking(self._door, command, wanted))

        def decoded() -> Response:
            with self._failures_counted():
                return decode()

        return decoded

    def fetch(self, command: TakeStep | RefetchPages | PrunePages) -> Response:
        """Return what a command asks for, decoded at once; raises as `download` does."""
        return self.download(command, always)()

    def close(self) -> None:
        """Close every connection to the source."""
        self._http.close()

    def _begun(
        self, command: TakeStep | RefetchPages | PrunePages, asking: Asking
    ) -> Callable[[], Response]:
        if not isinstance(command, TakeStep):
            return download_repair(asking, self._sql, command)
        if command.position.phase == "listing":
            return download_listing(asking, self._sql, command)
        return download_pages(asking, command)

    @contextmanager
    def _failures_counted(self) -> Iterator[None]:
        try:
            yield
        except SourceError as error:
            self._metrics.add("pagestream_requests_failed", reason=error.reason)
            raise
