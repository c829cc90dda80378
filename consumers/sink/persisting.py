"""Applying a batch however long it takes: over a new connection each time the database failed."""

from collections.abc import Callable
from typing import Final

import psycopg

from consumers.batches import Batch
from consumers.sink.applying import Applier
from consumers.sink.outages import Outage
from consumers.sink.positions import PositionMoved
from consumers.sink.standstill import end_standstill
from runtime.database.fates import is_cancelled
from runtime.errors import DatabaseUnavailable, Unavailable

_MOST_CANCELLED: Final = 5


class Persistence:
    """Applies batches through outages. Belongs to one thread, and so does its connection."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection], applier: Applier, outage: Outage
    ) -> None:
        self._connect = connect
        self._applier = applier
        self._outage = outage
        self._connection: psycopg.Connection | None = None

    @property
    def waits(self) -> bool:
        """Whether the database is away."""
        return self._outage.lasts

    def apply(self, batch: Batch) -> bool:
        """Apply a batch; return False when the process had to stop before the database was back.

        Raises PositionMoved, or a Stop: Unavailable for a batch that never ends in time.
        """
        cancelled = 0
        while True:
            try:
                self._applier.apply(self._open(), batch)
            except PositionMoved:
                self._outage.over()
                raise
            except DatabaseUnavailable as error:
                self.close()
                end_standstill(error, self._connect)
                cancelled += is_cancelled(error)
                if cancelled >= _MOST_CANCELLED:
                    raise Unavailable(
                        f"PostgreSQL gave up a batch of {len(batch.items)} records "
                        f"{cancelled} times: {error}",
                        remedy="set PAGESTREAM_SINK_BATCH lower, or look what slows the server",
                    ) from error
                if not self._outage.wait(error):
                    return False
            else:
                self._outage.over()
                return True

    def _open(self) -> psycopg.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def close(self) -> None:
        """Close the connection; the next batch opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
