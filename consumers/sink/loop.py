"""The sink: applies every record of its topics to PostgreSQL, exactly once and in order per table.

The loop reads and decodes; a writer thread applies. PostgreSQL's positions are the truth: they are
moved in the transaction that writes the rows (see `consumers.sink.applying`), and where partitions
are assigned, reading starts from them. Kafka's committed offsets follow, for lag tools only.

1. Partitions assigned: read their positions from PostgreSQL; start there, or at the earliest.
2. Read records; decode them; gather them into a batch while the writer has its hands full.
3. The writer applies the batch and moves its positions, in one transaction.
4. Commit the same offsets to Kafka, marked as ours, without waiting.
5. A position was not where the batch began: another sink has moved on. Forget what was read, read
   the positions again, and seek there.
"""

import time
from collections.abc import Sequence
from typing import Final

import psycopg

from consumers.batches import BatchBuilder, Item, Position, Rejected
from consumers.projections import pages
from consumers.registry import CONSUMERS, Consumer
from consumers.sink.applying import Applier
from consumers.sink.outages import Outage
from consumers.sink.persisting import Persistence
from consumers.sink.positions import Origin, PositionMoved, PositionReader
from consumers.sink.writing import Writer
from migrations import GENERATION
from runtime.crashpoints import crash_point
from runtime.database.connections import connect, connect_at_start
from runtime.database.fates import door
from runtime.database.schema import check_schema
from runtime.errors import ConfigurationError, PagestreamError, RecordError
from runtime.health import Readiness
from runtime.kafka.cluster import Cluster
from runtime.kafka.group import GroupConsumer
from runtime.kafka.records import EARLIEST, Committed, EndOfPartition, Partition, Record
from runtime.lifecycle import StopSignal, Watchdog, slot_lock
from runtime.logs import logger
from runtime.metrics import Metrics
from runtime.settings import Settings

MARK: Final = f"applied by the sink of {GENERATION}"
"""The metadata of every offset that a sink commits: one without it is somebody else's."""

_SESSION: Final = {
    "search_path": GENERATION,
    # Every look into a table is by its key. A plan made while the table was empty, or one that
    # trusts its statistics, would read all of it instead.
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # A sink that stands still in a transaction holds the positions that its successor waits for.
    "idle_in_transaction_session_timeout": "10s",
}
_ANSWER_SECONDS: Final = 5.0
_CHECK_ORIGIN_SECONDS: Final = 10.0
_MOST_BYTES: Final = 8_000_000
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

        applier = Applier(CONSUMERS, origin, metrics)
        writer = Writer(Persistence(writing, applier, outage("database")))
        reader = PositionReader(reading, cluster, origin, outage("positions"))
        watchdog = Watchdog(_STANDSTILL_SECONDS)
        sink = Sink(settings, CONSUMERS, writer, reader, metrics, watchdog)
        with watchdog.watching():
            sink.run(stop, readiness)


def open_connection(settings: Settings) -> psycopg.Connection:
    """Return a connection that the sink writes over, as `runtime.database.connections.connect`."""
    connection = connect(settings, settings.sink_slot, _SESSION)
    try:
        with door():
            pages.prepare(connection)
    except PagestreamError:
        connection.close()
        raise
    return connection


class Sink:
    """One sink at work: its group membership, the batch being gathered, and its writer."""

    def __init__(
        self,
        settings: Settings,
        consumers: Sequence[Consumer],
        writer: Writer,
        reader: PositionReader,
        metrics: Metrics,
        watchdog: Watchdog,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._metrics = metrics
        self._watchdog = watchdog
        self._log = logger("sink")
        self._read_of = {consumer.topic.name: consumer.read for consumer in consumers}
        self._gathered = BatchBuilder(settings.sink_batch, _MOST_BYTES)
        self._held = False
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
            # The writer may be waiting for the database: nobody wants its batch any more.
            stop.set()
            raise
        finally:
            self._writer.close(self._watchdog.beat)
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
            self._writer.check()
        except PositionMoved as moved:
            self._log.warning("position_moved", reason=str(moved))
            self._writer.forget_failure()
            self._go_where_positions_are()
        if self._gathered.room:
            self._release()
            if not self._gathered.empty and self._writer.idle:
                self._writer.offer(self._gathered.take())
            self._read()
        elif self._writer.wait_for_room(_READ_SECONDS if self._held else _ROOM_SECONDS):
            self._writer.offer(self._gathered.take())
        else:
            self._hold()

    def _read(self) -> None:
        at_once = min(_READ_AT_ONCE, max(1, self._gathered.room))
        for record in self._consumer.consume(at_once, _READ_SECONDS):
            if isinstance(record, EndOfPartition):
                self._reach(Partition(record.topic, record.partition), record.offset)
            elif self._gathered.wants(record):
                self._gathered.add(Item(record, self._content(record)))

    def _reach(self, partition: Partition, end: int) -> None:
        if self._gathered.lost(partition, end):
            raise ConfigurationError(
                f"{partition.topic}/{partition.number} ends at {end}, before what was applied: "
                "Kafka has lost records",
                remedy="restore the topic, or fill a new database from what it still has",
            )
        self._gathered.reach(partition, end)

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
        """Commit to Kafka what PostgreSQL has."""
        applied = self._writer.take_applied()
        if applied:
            crash_point("sink.committed")
            self._consumer.commit({place: Committed(end, MARK) for place, end in applied.items()})
            crash_point("sink.mirrored")

    def _go_where_positions_are(self) -> None:
        positions = self._reader.read(self._consumer.assignment(), self._watchdog.beat)
        self._gathered.place(positions)
        for partition, offset in _starts(positions).items():
            self._consumer.seek(partition, offset)

    def assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        """Start where PostgreSQL says, whatever Kafka has for a committed offset."""
        self._held = False
        positions = self._reader.read(partitions, self._watchdog.beat)
        self._gathered.place(positions)
        self._count_owned(partitions)
        return _starts(positions)

    def revoked(self, partitions: list[Partition]) -> None:
        """Finish what the writer has, unless the database is away; forget the rest."""
        self._writer.drain(_DRAIN_SECONDS, self._watchdog.beat)
        self._mirror()
        self._gathered.drop(partitions)
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
