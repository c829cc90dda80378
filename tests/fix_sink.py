"""Fixtures for the sink: records applied directly to a database, and whole sinks at work."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from fix_process import Process, program
from fix_services import KafkaCorner
from pydantic import SecretStr
from samples import sent
from stored_rows import Rows

from consumers.batches import Batch, BatchBuilder, Item, Rejected
from consumers.registry import CONSUMERS, Consumer
from consumers.sink import loop, positions
from consumers.sink.applying import Applier
from consumers.sink.positions import Origin
from runtime.errors import RecordError
from runtime.health import Readiness
from runtime.kafka.cluster import Cluster
from runtime.kafka.publisher import Publisher
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Committed, Outgoing, Partition, Record
from runtime.lifecycle import StopSignal
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.message import Message
from schemas.tables import PARTITIONS
from schemas.topics import TOPICS

DEADLINE: Final = 40.0
ORIGIN: Final = Origin(cluster_id="cluster", topic_ids={topic.name: topic.name for topic in TOPICS})


class DirectSink(Rows):
    """Applies records to a database as the sink does, with the test in Kafka's place."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings = settings
        self.metrics = Metrics()
        self.applier = self.applier_with(CONSUMERS)
        self.connection = loop.open_connection(settings)
        self._next: Counter[Partition] = Counter()

    def applier_with(self, consumers: Sequence[Consumer]) -> Applier:
        """Return an applier with other consumers than usual."""
        return Applier(consumers, ORIGIN, self.metrics)

    def forget_offsets(self) -> None:
        """Give the next records the offsets of the first: another sink reads the same log."""
        self._next.clear()

    def records(self, *given: Message | Outgoing) -> list[Record]:
        """Return records as they would be read, each at the next offset of its partition."""
        return [self.record(each) for each in given]

    def record(self, given: Message | Outgoing, timestamp: int = 1_700_000_000_000) -> Record:
        """Return one record as it would be read."""
        made = given if isinstance(given, Outgoing) else sent(given)
        partition = Partition(made.topic, made.partition)
        offset = self._next[partition]
        self._next[partition] += 1
        return Record(
            made.topic, made.partition, offset, made.key, made.value, made.headers, timestamp
        )

    def batch(self, records: list[Record]) -> Batch:
        """Return a batch of records that begins where the database's positions stand."""
        builder = BatchBuilder(10**6, 10**9)
        partitions = {Partition(record.topic, record.partition) for record in records}
        builder.place(positions.read(self.connection, partitions, ORIGIN))
        read_of = {consumer.topic.name: consumer.read for consumer in CONSUMERS}
        for record in records:
            assert builder.wants(record)
            try:
                content = read_of[record.topic](record)
            except RecordError as error:
                content = Rejected(error)
            builder.add(Item(record, content))
        return builder.take()

    def apply(self, *given: Message | Outgoing) -> list[Record]:
        """Apply records in one batch; return them."""
        records = self.records(*given)
        self.applier.apply(self.connection, self.batch(records))
        return records

    def reset(self) -> None:
        """Put every position back to the beginning, as if all had to be applied again."""
        self.do("UPDATE pagestream_1.sink_position SET next_offset = 0")


@pytest.fixture
def direct_sink(migrated_database: str) -> Iterator[DirectSink]:
    """A sink without Kafka, on a database of the test's own."""
    direct = DirectSink(Settings(database=SecretStr(migrated_database)))
    with closing(direct.connection):
        yield direct


class RunningSink:
    """A sink in a thread of this process."""

    def __init__(self, settings: Settings) -> None:
        self.stop = StopSignal()
        self.metrics = Metrics()
        self.readiness = Readiness()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(settings,))
        self._thread.start()

    def _run(self, settings: Settings) -> None:
        try:
            loop.run(settings, self.stop, self.metrics, self.readiness)
        except BaseException as error:  # noqa: BLE001 - the test's thread looks at it
            self.error = error

    def ended(self) -> BaseException | None:
        """Wait until the sink ends; return what it ended with."""
        self._thread.join(DEADLINE)
        ended = not self._thread.is_alive()
        self.stop.set()
        self._thread.join(DEADLINE)
        assert ended, "the sink did not end"
        return self.error

    def check(self) -> None:
        """Fail with what the sink failed with."""
        if self.error is not None:
            raise self.error


class SinkRig(Rows):
    """Topics and a database of one test's own, and sinks between them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings = settings
        self.cluster = Cluster(settings)
        self.cluster.create_topics()
        wait_until(self._has_topics, "the topics to be known")
        self._publisher = Publisher(settings)
        self._held = ExitStack()

    def _has_topics(self) -> bool:
        return not any(topic.wrong for topic in self.cluster.topics())

    def on(self, database: str) -> "SinkRig":
        """Return a rig on the same topics and another database."""
        return SinkRig(self.settings.model_copy(update={"database": SecretStr(database)}))

    def publish(self, *given: Message | Outgoing) -> None:
        """Publish records, in order."""
        self._publisher.publish(
            [each if isinstance(each, Outgoing) else sent(each) for each in given]
        )

    @contextmanager
    def running(self, **settings: Any) -> Iterator[RunningSink]:
        """Have a sink for the block; fails if it failed."""
        running = RunningSink(self.settings.model_copy(update=settings))
        try:
            yield running
        finally:
            running.stop.set()
            error = running.ended()
        if error is not None:
            raise error

    def start_process(self, *arguments: str, **environment: str) -> Process:
        """Start a sink in a process, which can be killed; `environment` overlays its settings."""
        everything = self.environment() | environment
        return self._held.enter_context(
            program("sink_process.py", *arguments, environment=everything)
        )

    def environment(self) -> dict[str, str]:
        """Return the settings of a process that belongs to this rig."""
        return {
            "PAGESTREAM_KAFKA": self.settings.kafka,
            "PAGESTREAM_TOPIC_PREFIX": self.settings.topic_prefix,
            "PAGESTREAM_DATABASE": self.settings.database.get_secret_value(),
            "PAGESTREAM_STATE_DIRECTORY": str(self.settings.state_directory),
            "PAGESTREAM_SINK_BATCH": str(self.settings.sink_batch),
        }

    def close(self) -> None:
        """Kill what is left, and show what each wrote where the test failed."""
        self._held.close()

    def origin(self) -> Origin:
        """Return where the offsets of this rig's topics count."""
        return Origin(cluster_id=self.cluster.cluster_id(), topic_ids=self.cluster.check_topics())

    def apply_published(self) -> None:
        """Apply everything published, as a sink that never was a member of its group would."""
        places = sink_partitions()
        builder = BatchBuilder(10**6, 10**9)
        read_of = {consumer.topic.name: consumer.read for consumer in CONSUMERS}
        origin = self.origin()
        ends = self.cluster.ends(places)
        with closing(loop.open_connection(self.settings)) as connection:
            builder.place(positions.read(connection, places, origin))
            with LogReader(self.settings) as reader:
                for record in reader.read(ends, seconds=DEADLINE):
                    if builder.wants(record):
                        builder.add(Item(record, read_of[record.topic](record)))
            for place, end in ends.items():
                builder.reach(place, end)
            Applier(CONSUMERS, origin, Metrics()).apply(connection, builder.take())

    def operator_sets(self, *places: tuple[str, int, int]) -> None:
        """Reset the group as any Kafka tool does, to offsets of topics' partitions."""
        self.cluster.set_committed(
            self.group(), {Partition(t, number): Committed(at) for t, number, at in places}
        )

    def delete_records(self, topic: str, number: int, *, before: int) -> None:
        """Delete the records of one partition below an offset."""
        admin = AdminClient({"bootstrap.servers": self.settings.kafka})
        full = f"{self.settings.topic_prefix}.{topic}"
        (deleted,) = admin.delete_records([TopicPartition(full, number, before)]).values()
        deleted.result(20)

    def group(self) -> str:
        """Return the sink's group on the broker."""
        return CONSUMERS[0].group_name(self.settings)

    def committed(self, topic: str, number: int) -> Committed:
        """Return what the group has committed in one partition."""
        place = Partition(topic, number)
        return self.cluster.committed(self.group(), [place])[place]

    def position(self, topic: str, number: int) -> dict[str, Any]:
        """Return the sink's position in one partition."""
        return self.one(
            "SELECT next_offset, applied_to FROM pagestream_1.sink_position"
            " WHERE topic = %s AND partition = %s",
            topic,
            number,
        )

    def settle(self, running: RunningSink | None = None) -> None:
        """Wait until everything published is applied."""
        # A client of its own: one from before a broker's restart asks with a fenced epoch.
        found = Cluster(self.settings).ends(sink_partitions())
        ends = {place: end for place, end in found.items() if end}

        def applied() -> bool:
            if running is not None:
                running.check()
            found = self.rows("SELECT * FROM pagestream_1.sink_position")
            return ends == {
                Partition(row["topic"], row["partition"]): row["next_offset"] for row in found
            }

        wait_until(applied, "everything to be applied")


def wait_until(reached: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
    """Wait until `reached` says so; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        threading.Event().wait(0.05)


def sink_partitions() -> list[Partition]:
    """Return every partition that the sink reads."""
    topics = [consumer.topic.name for consumer in CONSUMERS]
    return [Partition(topic, number) for topic in topics for number in range(PARTITIONS)]


@pytest.fixture
def sink_rig(kafka: KafkaCorner, migrated_database: str, tmp_path: Path) -> Iterator[SinkRig]:
    """Fresh topics and a fresh database, and sinks that end with the test."""
    rig = SinkRig(
        Settings(
            kafka=kafka.bootstrap,
            topic_prefix=kafka.prefix,
            database=SecretStr(migrated_database),
            state_directory=tmp_path,
        )
    )
    yield rig
    rig.close()


def owned_partitions(running: RunningSink) -> int:
    """Return how many partitions of a topic a sink owns."""
    value = running.metrics.registry.get_sample_value(
        "pagestream_owned_partitions", {"topic": "pages"}
    )
    return int(value or 0)
