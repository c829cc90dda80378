"""Applying a batch: one database transaction for its rows and its positions.

1. Begin; move the position of every partition by compare-and-swap. From here on no other sink can
   apply anything of these partitions.
2. Make the municipalities that are new; apply each topic's projection; store the dead letters.
3. Commit.

A reply to the commit that gets lost is harmless: trying again finds the positions moved, and the
sink goes on from where they stand.

A row at fault fails the transaction. Then the halves of the batch are applied, one after the other,
down to the record at fault, which is applied as a dead letter. The halves' spans adjoin, so that
every position is moved over each record exactly once.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec
import psycopg

from consumers import dead_letters
from consumers.batches import Batch, Item, Rejected
from consumers.projections import municipalities
from consumers.registry import Consumer
from consumers.sink import positions
from consumers.sink.positions import Origin
from runtime.crashpoints import crash_point
from runtime.database.connections import deadline
from runtime.database.fates import door
from runtime.errors import InternalError, RecordError
from runtime.kafka.records import Record
from runtime.logs import logger
from runtime.metrics import Metrics
from schemas.records import Municipality, Page

TRANSACTION_SECONDS: Final = 90.0
"""After this the connection is cut: longer than the server's own deadline for one statement."""


class Applier:
    """Applies batches over one connection at a time."""

    def __init__(self, consumers: Sequence[Consumer], origin: Origin, metrics: Metrics) -> None:
        self._consumers = consumers
        self._origin = origin
        self._metrics = metrics
        self._log = logger("sink")

    def apply(self, connection: psycopg.Connection, batch: Batch) -> None:
        """Apply a batch, all of it, in one transaction or, around rows at fault, in several.

        Raises PositionMoved, DatabaseUnavailable, or a Stop.
        """
        try:
            self._apply_at_once(connection, batch)
        except RecordError as error:
            if not batch.items:
                raise InternalError(f"positions could not be moved: {error}") from error
            for part in self._around_fault(batch, error):
                self.apply(connection, part)
        except dead_letters.FloodError:
            # What the policy allows is set aside and can be looked at; only then is it enough.
            if len(batch.items) <= 1:
                raise
            for part in batch.halves():
                self.apply(connection, part)

    def _around_fault(self, batch: Batch, error: RecordError) -> tuple[Batch, ...]:
        if len(batch.items) > 1:
            return batch.halves()
        (item,) = batch.items
        if isinstance(item.content, Rejected):
            raise InternalError(f"a dead letter could not be stored: {error}") from error
        rejected = Item(item.record, Rejected(error, item.content))
        return (msgspec.structs.replace(batch, items=[rejected]),)

    def _apply_at_once(self, connection: psycopg.Connection, batch: Batch) -> None:
        began = time.monotonic()
        by_topic: dict[str, list[Item]] = defaultdict(list)
        for item in batch.items:
            by_topic[item.record.topic].append(item)
        counted_from = batch.counted_from()
        written: Counter[str] = Counter()
        with door(), deadline(connection, TRANSACTION_SECONDS), connection.transaction():
            positions.move(connection, batch.spans, self._origin)
            crash_point("sink.moved")
            municipalities.add(connection, _sites(batch.items))
            for consumer in self._consumers:
                items = by_topic.get(consumer.topic.name)
                if items:
                    written.update(consumer.apply(connection, items, counted_from))
                    self._store_rejected(connection, consumer, items)
            crash_point("sink.written")
        self._measure(by_topic, written, time.monotonic() - began)

    def _store_rejected(
        self, connection: psycopg.Connection, consumer: Consumer, items: Sequence[Item]
    ) -> None:
        found = [
            (dead_letters.from_record(item.record, item.content), item.record)
            for item in items
            if isinstance(item.content, Rejected)
        ]
        if found:
            dead_letters.store(connection, found)
            dead_letters.check_flood(connection, consumer.topic.name, consumer.policy)

    def _measure(
        self, by_topic: dict[str, list[Item]], written: Counter[str], seconds: float
    ) -> None:
        self._metrics.observe("pagestream_batch_seconds", seconds)
        for change, rows in written.items():
            if rows:
                self._metrics.add("pagestream_rows_written", rows, change=change)
        for topic, items in by_topic.items():
            self._metrics.add("pagestream_records_applied", len(items), topic=topic)
            for item in items:
                if isinstance(item.content, Rejected):
                    self._tell(item.record, item.content.error)

    def _tell(self, record: Record, error: RecordError) -> None:
        self._metrics.add("pagestream_dead_letters", found_by="sink", reason=error.reason)
        self._log.warning(
            "dead_lettered",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            reason=error.reason,
            error=str(error),
        )


def _sites(items: Sequence[Item]) -> set[str]:
    return {item.content.site for item in items if isinstance(item.content, Page | Municipality)}
