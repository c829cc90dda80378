"""Fixtures for the sink: records applied directly to a database, and whole sinks at work."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from fix_services import KafkaCorner
from psycopg.rows import dict_row
from pydantic import SecretStr
from samples import sent

from consumers.batches import Batch, BatchBuilder, Item, Rejected
from consumers.registry import CONSUMERS, Consumer
from consumers.sink import loop, positions
from consumers.sink.applying import Applier
from consumers.sink.positions import Origin
from runtime.database.connections import connect
from runtime.errors import RecordError
from runtime.health import Readiness
from runtime.kafka.cluster import Cluster
from runtime.kafka.publisher import Publisher
from runtime.kafka.records import Outgoing, Partition, Record
from runtime.lifecycle import StopSignal
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.message import Message
from schemas.tables import PARTITIONS
from schemas.topics import TOPICS

DEADLINE: Final = 40.0
ORIGIN: Final = Origin(cluster_id="cluster", topic_ids={topic.name: topic.name for topic in TOPICS})


class Rows:
    """Asks one database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with connect(self._settings, "test") as connection:
            cursor = connection.cursor(row_factory=dict_row)
            return cursor.execute(query, parameters).fetchall()

    def one(self, query: str, *parameters: object) -> dict[str, Any]:
        """Return the only row of a query."""
        (row,) = self.rows(query, *parameters)
        return row

    def do(self, statement: str, *parameters: object) -> int:
        """Execute a statement; return the number of rows it touched."""
        with connect(self._settings, "test") as connection:
            return connection.execute(statement, parameters).rowcount

    def figures(self) -> dict[int, dict[str, int]]:
        """Return the figures that are not zero, by walk, over all tables."""
        found: dict[int, dict[str, int]] = {}
        for row in self.rows("SELECT * FROM pagestream.walk_figures"):
            total = found.setdefault(row["walk"], {})
            for name in ("created", "updated", "unchanged", "deleted", "dead_lettered"):
                if row[name]:
                    total[name] = total.get(name, 0) + row[name]
        return found

    def ids(self) -> list[str]:
        """Return the ids of all pages stored."""
        found = self.rows("SELECT id FROM pagestream.meeting_page ORDER BY id")
        return [row["id"] for row in found]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return the version of every row of the copy: it changes whenever a row is written."""
        return self.rows(
            """
            SELECT 'page' AS what, id, xmin::text, ctid::text FROM pagestream_1.meeting_page
            UNION ALL
            SELECT 'document', id::text, xmin::text, ctid::text FROM pagestream_1.meeting_document
            UNION ALL
            SELECT 'site', subdomain, xmin::text, ctid::text FROM pagestream_1.municipality
            ORDER BY 1, 2, 3, 4
            """
        )


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
        self._processes: list[subprocess.Popen[str]] = []

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

    def start_process(self, **environment: str) -> subprocess.Popen[str]:
        """Start a sink in a process, which can be killed; `environment` overlays its settings."""
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("sink_process.py"))],
            env={**os.environ, **self._environment(), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        return {
            "PAGESTREAM_KAFKA": self.settings.kafka,
            "PAGESTREAM_TOPIC_PREFIX": self.settings.topic_prefix,
            "PAGESTREAM_DATABASE": self.settings.database.get_secret_value(),
            "PAGESTREAM_STATE_DIRECTORY": str(self.settings.state_directory),
            "PAGESTREAM_SINK_BATCH": str(self.settings.sink_batch),
        }

    def close(self) -> None:
        """Kill what is left, and show what each wrote where the test failed."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            _, written = process.communicate()
            sys.stderr.write(written or "")

    def settle(self, running: RunningSink | None = None) -> None:
        """Wait until everything published is applied."""
        topics = [consumer.topic.name for consumer in CONSUMERS]
        places = [Partition(topic, number) for topic in topics for number in range(PARTITIONS)]
        # A client of its own: one from before a broker's restart asks with a fenced epoch.
        found = Cluster(self.settings).ends(places)
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
