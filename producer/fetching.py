"""Fetches in the background: a few threads that ask the source, and never hold up a shutdown."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from producer.pacing import StopRequestedError
from producer.responses import Failure, Fetched
from runtime.errors import SourceError
from runtime.logs import logger
from schemas.commands import TakeStep

Fetch = Callable[[TakeStep], Fetched]


class Fetcher:
    """Runs `fetch` for many steps at once.

    Its threads are daemons, unlike those of a ThreadPoolExecutor, for which the interpreter waits
    at its end: a source that answers nothing for two minutes must not delay a shutdown.
    """

    def __init__(self, fetch: Fetch, threads: int) -> None:
        self._fetch = fetch
        self._queue: queue.SimpleQueue[tuple[TakeStep, Future[Fetched]]] = queue.SimpleQueue()
        for number in range(threads):
            threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True).start()

    def submit(self, step: TakeStep) -> Future[Fetched]:
        """Return the future response; its result is a Failure where there is none.

        It stays without a result when the process is told to stop first: the step remains due.
        """
        future: Future[Fetched] = Future()
        self._queue.put((step, future))
        return future

    def _work(self) -> None:
        while True:
            step, future = self._queue.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._fetched(step))
            except StopRequestedError:
                return

    def _fetched(self, step: TakeStep) -> Fetched:
        try:
            return self._fetch(step)
        except SourceError as error:
            return Failure(reason=error.reason, error=str(error), received=error.received)
        except StopRequestedError:
            raise
        except Exception as error:  # noqa: BLE001 - what breaks here fails its own walk alone
            logger("walker").exception("fetch_broke", table=step.table.key, step=step.step)
            return Failure(reason="unexpected", error=f"{type(error).__name__}: {error}"[:500])
