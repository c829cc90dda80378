"""The sink's writer: a thread that applies one batch while the next one is read and decoded.

It holds at most one batch beside the one in hand. What fails is handed to the sink's loop, and
nothing more is applied until the loop has said where to go on.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from consumers.batches import Batch
from runtime.kafka.records import Partition

_SLICE: Final = 0.5


class Persists(Protocol):
    """Applies one batch; see `consumers.sink.persisting`."""

    @property
    def waits(self) -> bool:
        """Whether the database is away."""
        ...

    def apply(self, batch: Batch) -> bool:
        """Apply a batch; return False when told to stop before it was applied."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


class Writer:
    """Applies the batches that it is offered, in order, in a thread of its own."""

    def __init__(self, persistence: Persists) -> None:
        self._persistence = persistence
        self._changed = threading.Condition()
        self._waiting: Batch | None = None
        self._in_hand: Batch | None = None
        self._applied: dict[Partition, int] = {}
        self._failure: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sink-writer", daemon=True)
        self._thread.start()

    def wait_for_room(self, seconds: float) -> bool:
        """Wait until a batch can be offered, `seconds` at most; return whether it can.

        Gives up at a failure: until somebody has looked at it, no batch is taken.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting is None or self._failure is not None, seconds
            )
            return self._waiting is None

    def offer(self, batch: Batch) -> None:
        """Hand over a batch, when there is room."""
        with self._changed:
            self._waiting = batch
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """Whether a batch offered now would be begun at once."""
        with self._changed:
            return self._waiting is None and self._in_hand is None

    @property
    def waits(self) -> bool:
        """Whether the database is away."""
        return self._persistence.waits

    def take_applied(self) -> dict[Partition, int]:
        """Return the positions reached since the last call."""
        with self._changed:
            applied, self._applied = self._applied, {}
            return applied

    def check(self) -> None:
        """Raise what a batch failed with, if one did."""
        with self._changed:
            if self._failure is not None:
                raise self._failure

    def forget_failure(self) -> None:
        """Go on after a failure, without the batches that were offered before it."""
        with self._changed:
            self._waiting = None
            self._failure = None

    def drain(self, seconds: float, beat: Callable[[], None]) -> bool:
        """Wait until every batch taken is applied; return whether that came to pass.

        Gives up after `seconds`, at a failure, and when the database is away.
        """
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            beat()
            with self._changed:
                if self._changed.wait_for(lambda: self._is_done, _SLICE):
                    return self._failure is None
            if self.waits:
                return False
        return False

    @property
    def _is_done(self) -> bool:
        return (self._waiting is None and self._in_hand is None) or self._failure is not None

    def close(self, beat: Callable[[], None]) -> None:
        """End the thread, after the batch in hand."""
        with self._changed:
            self._closed = True
            self._waiting = None
            self._changed.notify_all()
        while self._thread.is_alive():
            beat()
            self._thread.join(_SLICE)

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            failure: BaseException | None = None
            applied = False
            try:
                applied = self._persistence.apply(batch)
            except BaseException as error:  # noqa: BLE001 - the loop's thread raises it
                failure = error
            with self._changed:
                if applied:
                    self._applied |= {place: span.end for place, span in batch.spans.items()}
                self._failure = failure
                self._in_hand = None
                self._changed.notify_all()
        self._persistence.close()

    def _next(self) -> Batch | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (self._waiting is not None and self._failure is None)
            )
            if self._closed:
                return None
            self._in_hand, self._waiting = self._waiting, None
            self._changed.notify_all()
            return self._in_hand
