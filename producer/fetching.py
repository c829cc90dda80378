"""Fetches in the background, each kept for exactly the command that it was begun for.

A fetch belongs to its table, not to a place in the log: a command that is put back and comes again
finds its own. It is a pure GET, so that nothing but time is lost when it is not used.

Each partition can always have one request in flight, so that a site that does not answer delays
only the tables that share its partition; all partitions together have `AHEAD` more. With as many
threads as that, no request waits for a thread.
"""

import queue
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from producer.decide import FetchedCommand, fetchable
from producer.pacing import StopRequestedError
from producer.responses import Failure, Fetched
from runtime.errors import SourceError
from runtime.logs import logger
from schemas.tables import Table
from schemas.walks import WalkState

AHEAD: Final = 16
"""So many requests, beyond one for each partition, may be in flight, or answered and not used."""

_MOST_ERROR: Final = 500

T = TypeVar("T")

Decode = Callable[[], Fetched]
"""Makes a response of what was downloaded; raises SourceError where it is none."""

Download = Callable[[FetchedCommand, Callable[[], bool]], Decode]
"""Asks the source for a command; the function it is given says whether anybody still waits for it.

Raises SourceError, or StopRequestedError when nothing was asked.
"""


class Downloaded(msgspec.Struct, frozen=True):
    """A response as it came, to be decoded by who uses it."""

    decode: Decode


class Fetch:
    """What is asked of the source for one command.

    `alone` says that its response is not to be decoded in the background. `wanted` is taken back
    when the command is due no longer. `result` is there once it has `ended`; it has none where
    nobody wanted it, or the process was told to stop.
    """

    def __init__(self, command: FetchedCommand, number: int, *, alone: bool) -> None:
        self.command: Final = command
        self.number: Final = number
        self.alone: Final = alone
        self.wanted = True
        self.ended = False
        self.result: Fetched | Downloaded | None = None

    @property
    def lost(self) -> bool:
        """Whether it has ended without a result."""
        return self.ended and self.result is None

    def end(self, result: Fetched | Downloaded | None) -> None:
        """Take what came; called once, by the thread that asked."""
        self.result = result if self.wanted else None
        self.ended = True


class Tally:
    """How many there are in each partition; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[int] = Counter()
        self._all = 0

    def add(self, number: int) -> None:
        """Count one more."""
        with self._lock:
            self._counts[number] += 1
            self._all += 1

    def remove(self, number: int) -> None:
        """Count one less."""
        with self._lock:
            self._counts[number] -= 1
            self._all -= 1
            if not self._counts[number]:
                del self._counts[number]

    def allows(self, number: int) -> bool:
        """Tell whether partition `number` may have one more: its own, or one of AHEAD."""
        with self._lock:
            return number not in self._counts or self._all - len(self._counts) < AHEAD


class Fetcher:
    """Runs many fetches at once.

    Its threads are daemons, unlike those of a ThreadPoolExecutor, for which the interpreter waits
    at its end: a source that answers nothing for two minutes must not delay a shutdown.
    """

    def __init__(self, download: Download, threads: int) -> None:
        self.running: Final = Tally()
        self._download = download
        self._queue: queue.SimpleQueue[Fetch] = queue.SimpleQueue()
        for number in range(threads):
            threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True).start()

    def submit(self, fetch: Fetch) -> None:
        """Begin a fetch as soon as a thread is free."""
        self.running.add(fetch.number)
        self._queue.put(fetch)

    def _work(self) -> None:
        while True:
            # A call of its own: a thread that waits for the next must not keep a whole response.
            self._run(self._queue.get())

    def _run(self, fetch: Fetch) -> None:
        result = self._result(fetch) if fetch.wanted else None
        self.running.remove(fetch.number)
        fetch.end(result)

    def _result(self, fetch: Fetch) -> Fetched | Downloaded | None:
        def ask() -> Fetched | Downloaded:
            decode = self._download(fetch.command, lambda: fetch.wanted)
            return Downloaded(decode) if fetch.alone else decode()

        try:
            return _or_failure(ask, fetch.command)
        except StopRequestedError:
            return None


def decoded(downloaded: Downloaded, command: FetchedCommand) -> Fetched:
    """Return the response, or the Failure that it is."""
    return _or_failure(downloaded.decode, command)


def _or_failure(ask: Callable[[], T], command: FetchedCommand) -> T | Failure:
    try:
        return ask()
    except SourceError as error:
        return Failure(
            reason=error.reason,
            error=str(error),
            received=error.received,
            retry_after=error.retry_after,
        )
    except StopRequestedError:
        raise
    except Exception as error:  # noqa: BLE001 - what breaks here fails its own walk alone
        logger("walker").exception("fetch_broke", table=command.table.key)
        return Failure(reason="unexpected", error=f"{type(error).__name__}: {error}"[:_MOST_ERROR])


class Fetches:
    """The newest fetch of each table, as the loop's thread sees them: it alone may call these."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._held = Tally()
        self._of: dict[int, dict[Table, Fetch]] = {}

    def begin(self, number: int, command: FetchedCommand, *, alone: bool) -> None:
        """Fetch for the command at the head of its lane, if that is not under way.

        It is not begun while the partition's own earlier requests, wanted no longer, still hang
        and nothing is left of what all partitions share.
        """
        if not self._taken_up(number, command) and self._fetcher.running.allows(number):
            self._submit(number, command, alone=alone)

    def allow_ahead(self, number: int) -> bool:
        """Tell whether a partition may have one more fetch, for a command whose turn is to come."""
        return self._held.allows(number) and self._fetcher.running.allows(number)

    def begin_ahead(self, number: int, command: FetchedCommand, *, alone: bool) -> bool:
        """Fetch for a command whose turn is to come; return whether that is under way."""
        if not self._taken_up(number, command):
            if not self.allow_ahead(number):
                return False
            self._submit(number, command, alone=alone)
        return True

    def result(self, number: int, command: FetchedCommand) -> Fetched | Downloaded | None:
        """Return what came for exactly this command, or None while nothing has."""
        fetch = self._of.get(number, {}).get(command.table)
        if fetch is None or not fetch.ended or fetch.command != command:
            return None
        return fetch.result

    def settle(self, number: int, state: WalkState) -> None:
        """Give up the fetch of a table whose new state waits for it no longer."""
        fetch = self._of.get(number, {}).get(state.table)
        if fetch is not None and not fetchable(state, fetch.command):
            self._give_up(fetch)

    def drop(self, number: int) -> None:
        """Give up every fetch of a partition."""
        for fetch in list(self._of.get(number, {}).values()):
            self._give_up(fetch)
        self._of.pop(number, None)

    def _taken_up(self, number: int, command: FetchedCommand) -> bool:
        """Tell whether this is being fetched already; one given up and still under way is again."""
        fetch = self._of.get(number, {}).get(command.table)
        if fetch is None or fetch.command != command or fetch.lost:
            return False
        if not fetch.wanted:
            fetch.wanted = True
            self._held.add(number)
        return True

    def _submit(self, number: int, command: FetchedCommand, *, alone: bool) -> None:
        mine = self._of.setdefault(number, {})
        if (earlier := mine.get(command.table)) is not None:
            self._give_up(earlier)
        fetch = mine[command.table] = Fetch(command, number, alone=alone)
        self._held.add(number)
        self._fetcher.submit(fetch)

    def _give_up(self, fetch: Fetch) -> None:
        """Let a fetch go: the response of one under way can still be taken up by its command."""
        if fetch.wanted:
            fetch.wanted = False
            self._held.remove(fetch.number)
        if fetch.ended:
            self._of[fetch.number].pop(fetch.command.table, None)
