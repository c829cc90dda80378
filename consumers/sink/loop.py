"""The sink: applies every record of its topics to PostgreSQL, exactly once and in order per table.

The loop reads and decodes; writer threads apply. PostgreSQL's positions are the truth: they are
moved in the transaction that writes the rows (see `consumers.sink.applying`), and where partitions
are assigned, reading starts from them. Kafka's committed offsets follow, for lag tools, and for
operators, who reset them.

1. Partitions assigned: read their positions from PostgreSQL; obey or refuse what an operator has
   reset (see `consumers.sink.assigning`); start there, or at the earliest.
2. Read records; decode them; gather each lane's into a batch while its writer is busy.
3. A writer applies its batch and moves the batch's positions, in one transaction.
4. Commit the same offsets to Kafka, marked as ours, without waiting.
5. A position was not where the batch began: another sink has moved on. Forget what was read, read
   the positions again, and seek there.
"""

import time
from collections.abc import Sequence
from typing import Final

import psycopg

from consumers.batches import Item, Position, Rejected
from consumers.projections import pages
from consumers.registry import CONSUMERS, Consumer
from consumers.sink import examining
from consumers.sink.applying import Applier
from consumers.sink.assigning import PositionReader
from consumers.sink.examining import Log
from consumers.sink.lanes import Lanes
from consumers.sink.outages import Outage
from consumers.sink.persisting import Persistence
from consumers.sink.positions import MARK, Origin, PositionMoved
from consumers.sink.writing import Writer
from migrations import GENERATION
from runtime.crashpoints import crash_point
from runtime.database.connections import connect, connect_at_start
from runtime.database.fates import door
from runtime.database.schema import check_schema
from runtime.errors import PagestreamError, RecordError
from runtime.health import Readiness
from runtime.kafka.cluster import Cluster
from runtime.kafka.group import GroupConsumer
from runtime.kafka.reading import LogReader
from runtime.kafka.records import EARLIEST, Committed, EndOfPartition, Partition, Record
from runtime.lifecycle import StopSignal, Watchdog, slot_lock
from runtime.logs import logger
from runtime.metrics import Metrics
from runtime.settings import Settings

_SESSION: Final = {
    "search_path": GENERATION,
    # Every look into a table is by its key. A plan made while the table was empty, or one that
    # trusts its statistics, would read all of it instead.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # A sink that stands still in a transaction holds the positions that its successor waits for.
    "idle_in_transaction_session_timeout": "10s",
}
_ANSWER_SECONDS: Final = 5.0
_COMMITTED_SECONDS: Final = 10.0
_CHECK_ORIGIN_SECONDS: Final = 10.0
_WRITERS: Final = 2
_MOST_BYTES: Final = 4_000_000
_READ_AT_ONCE: Final = 500
_READ_SECONDS: Final = 0.05
_ROOM_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 20.0
_STANDSTILL_SECONDS: Final = 60.0
_TUNING: Final = {
    # Reading starts at a position or at the earliest record: an offset that is not there was lost.
    "auto.offset.reset": "error",
    "queued.max.messages.kbytes": 8192,
    "fetch.max.bytes": 8_388_608,
    "max.partition.fetch.bytes": 2_097_152,
    "check.crcs": False,
}


def run(
    settings: Settings,
    stop: StopSignal,
    metrics: Metrics,
    readiness: Readiness,
) -> None:
    """Apply records until told to stop; the batch in hand is finished first.

    Raises a Stop: Unavailable when a server does not answer at the start, ConfigurationError for
    topics, a schema or messages that do not fit this program, OwnedElsewhere for a slot in use.
    """
    lock = slot_lock(
        settings.state_directory / "slots", f"{settings.topic_prefix}.{settings.sink_slot}"
    )
    with lock:
        cluster = Cluster(settings, seconds=_ANSWER_SECONDS)
        origin = Origin(topic_ids=cluster.check_topics(), cluster_id=cluster.cluster_id())
        with connect_at_start(settings, "sink start") as connection:
            check_schema(connection)

        def outage(cause: str) -> Outage:
            return Outage(cause, stop, metrics, readiness)

        def reading() -> psycopg.Connection:
            return connect(settings, f"{settings.sink_slot} positions", _SESSION)

        def writing() -> psycopg.Connection:
            return open_connection(settings)

        def first_record(partition: Partition, start: int, end: int) -> Record | None:
            with LogReader(settings) as records:
                return next(
                    records.read({partition: end}, seconds=_ANSWER_SECONDS, start=start), None
                )

        applier = Applier(CONSUMERS, origin, metrics)
        writers = [
            Writer(Persistence(writing, applier, outage(f"database {number}")))
            for number in range(_WRITERS)
        ]
        lanes = Lanes(writers, settings.sink_batch, _MOST_BYTES)
        reader = PositionReader(reading, cluster, first_record, origin, outage("positions"))
        watchdog = Watchdog(_STANDSTILL_SECONDS)
        sink = Sink(settings, CONSUMERS, lanes, reader, metrics, watchdog)
        with watchdog.watching():
            sink.run(stop, readiness)


def open_connection(settings: Settings) -> psycopg.Connection:
    """Return a connection that the sink writes over, as `runtime.database.connections.connect`."""
    connection = connect(settings, settings.sink_slot, _SESSION)
    # Prepared, our own queries would get such a plan; those of foreign keys are prepared by the
    # server, and cheap to keep.
    connection.prepare_threshold = None
    try:
        with door():
            pages.prepare(connection)
    except PagestreamError:
        connection.close()
        raise
    return connection


class Sink:
    """One sink at work: its group membership, and the lanes that gather and write."""

    def __init__(
        self,
        settings: Settings,
        consumers: Sequence[Consumer],
        lanes: Lanes,
        reader: PositionReader,
        metrics: Metrics,
        watchdog: Watchdog,
    ) -> None:
        self._lanes = lanes
        self._reader = reader
        self._metrics = metrics
        self._watchdog = watchdog
        self._log = logger("sink")
        self._read_of = {consumer.topic.name: consumer.read for consumer in consumers}
        self._held = False
        self._unmirrored: dict[Partition, int] = {}
        self._check_origin_at = time.monotonic() + _CHECK_ORIGIN_SECONDS
        self._consumer = GroupConsumer(
            settings,
            group=consumers[0].group_name(settings),
            member=settings.sink_slot,
            topics=tuple(self._read_of),
            ownership=self,
            tuning=_TUNING,
        )

    def run(self, stop: StopSignal, readiness: Readiness) -> None:
        """Turn until told to stop."""
        readiness.started()
        try:
            while not stop.is_set():
                self._turn()
        except BaseException:
            # The writers may be waiting for the database: nobody wants their batches any more.
            stop.set()
            raise
        finally:
            self._lanes.close(self._watchdog.beat)
            self._mirror()
            self._consumer.close()
            self._log.info("sink_stopped")

    def _turn(self) -> None:
        self._watchdog.beat()
        self._mirror()
        if time.monotonic() > self._check_origin_at:
            self._reader.check_origin()
            self._check_origin_at = time.monotonic() + _CHECK_ORIGIN_SECONDS
        try:
            self._lanes.check()
        except PositionMoved as moved:
            self._log.warning("position_moved", reason=str(moved))
            self._lanes.forget_failure()
            self._lanes.drain(_DRAIN_SECONDS, self._watchdog.beat)
            self._go_where_positions_are()
        if self._lanes.room:
            self._release()
            self._lanes.feed()
            self._read()
        elif not self._lanes.hand_over(_READ_SECONDS if self._held else _ROOM_SECONDS):
            self._hold()

    def _read(self) -> None:
        at_once = min(_READ_AT_ONCE, max(1, self._lanes.room))
        for record in self._consumer.consume(at_once, _READ_SECONDS):
            if isinstance(record, EndOfPartition):
                self._reach(Partition(record.topic, record.partition), record.offset)
            elif self._lanes.wants(record):
                self._lanes.add(Item(record, self._content(record)))

    def _reach(self, partition: Partition, end: int) -> None:
        reached = self._lanes.reached(partition)
        if reached is not None:
            examining.check_inside(partition, Position(reached), Log(0, end))
        self._lanes.reach(partition, end)

    def _content(self, record: Record) -> object:
        try:
            return self._read_of[record.topic](record)
        except RecordError as error:
            return Rejected(error)

    def _hold(self) -> None:
        """Stay a member of the group without reading on: the database keeps us waiting."""
        if not self._held:
            self._held = True
            self._consumer.pause(list(self._consumer.assignment()))
            self._log.info("reading_held")
        self._read()

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._consumer.resume(list(self._consumer.assignment()))
            self._log.info("reading_resumed")

    def _mirror(self) -> None:
        """Commit to Kafka what PostgreSQL has; what it may not take now is kept for later."""
        applied = self._lanes.take_applied()
        if applied:
            crash_point("sink.committed")
            self._unmirrored |= applied
        offsets = {place: Committed(end, MARK) for place, end in self._unmirrored.items()}
        if offsets and self._consumer.commit(offsets):
            self._unmirrored.clear()
            crash_point("sink.mirrored")

    def _go_where_positions_are(self) -> None:
        positions = self._reader.read(self._consumer.assignment(), self._watchdog.beat)
        self._lanes.place(positions)
        for partition, offset in _starts(positions).items():
            self._consumer.seek(partition, offset)

    def assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        """Start where PostgreSQL says, or before, where an operator wants it."""
        self._held = False
        positions, self._unmirrored = self._reader.take_over(
            partitions,
            lambda: self._consumer.committed(partitions, _COMMITTED_SECONDS),
            self._watchdog.beat,
        )
        self._lanes.place(positions)
        self._count_owned(partitions)
        return _starts(positions)

    def revoked(self, partitions: list[Partition]) -> None:
        """Finish what the writers have, unless the database is away; forget the rest."""
        self._lanes.drain(_DRAIN_SECONDS, self._watchdog.beat)
        self._mirror()
        self._unmirrored = {}
        self._lanes.drop(partitions)
        self._count_owned([])

    def _count_owned(self, partitions: list[Partition]) -> None:
        for topic in self._read_of:
            owned = sum(partition.topic == topic for partition in partitions)
            self._metrics.put("pagestream_owned_partitions", owned, topic=topic)


def _starts(positions: dict[Partition, Position]) -> dict[Partition, int]:
    return {
        partition: EARLIEST if position.next_offset is None else position.next_offset
        for partition, position in positions.items()
    }
