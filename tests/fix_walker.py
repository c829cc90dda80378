"""Fixtures for walkers on a real broker: processes to kill, and what the log says afterwards."""

import itertools
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from fix_process import Process, program
from fix_services import KafkaCorner

from runtime.kafka.cluster import Cluster
from runtime.kafka.publisher import Publisher
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Outgoing, Partition, Record, outgoing
from runtime.settings import Settings
from schemas.codec import decode
from schemas.commands import AddSite, Request, StartWalk
from schemas.events import CommandAnswered
from schemas.message import Message
from schemas.records import Municipality
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS, LEDGER, WALKS, Topic
from schemas.walks import WalkState

ROWS: Final = 20
"""Rows in each response of a test's walk."""

_DEADLINE: Final = 40.0


class Source:
    """What the source of a rig's walkers does, steered and seen through a folder.

    `hang.SITE`: the site's requests get no answer while this file is there. `fail.SITE`: they fail.
    `deadly.SITE`: decoding the response to the step that it names kills the process. `clock`: how
    many seconds the time of day is off. `asked`: a line for each request.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    @contextmanager
    def hanging(self, *tables: Table) -> Iterator[None]:
        """Have the source not answer for these sites until the block ends."""
        files = [self.folder / f"hang.{table.site}" for table in tables]
        for file in files:
            file.touch()
        try:
            yield
        finally:
            for file in files:
                file.unlink()

    @contextmanager
    def failing(self, table: Table) -> Iterator[None]:
        """Have the source fail for this site until the block ends."""
        file = self.folder / f"fail.{table.site}"
        file.touch()
        try:
            yield
        finally:
            file.unlink()

    def kill_at(self, table: Table, step: int) -> None:
        """Have the response to this step kill whoever decodes it."""
        (self.folder / f"deadly.{table.site}").write_text(str(step))

    def set_clock(self, seconds: float) -> None:
        """Have the time of day be so many seconds off."""
        new = self.folder / "clock.new"
        new.write_text(str(seconds))
        new.rename(self.folder / "clock")

    def asked(self, table: Table) -> list[str]:
        """Return the requests for a table so far, as `walk step attempt` each."""
        file = self.folder / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        mine = (line.partition(" ") for line in lines)
        return [what for key, _, what in mine if key == table.key]

    def wait_until_asked(self, table: Table, times: int = 1) -> None:
        """Wait until a request for a table has come, for the `times`th time."""
        deadline = time.monotonic() + _DEADLINE
        while len(self.asked(table)) < times:
            assert time.monotonic() < deadline, f"{table.key} was asked for {self.asked(table)}"
            time.sleep(0.02)


def _written(name: str, value: object) -> str:
    """Return a setting as it is written in the environment."""
    if name.endswith("_every"):
        return "never" if value is None else f"{value}s"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


class WalkerRig:
    """Topics of one test's own, and the means to walk in them and to look at the outcome."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.source = Source(settings.state_directory / "source")
        # A limit that was set is each walker's own: more than one may walk.
        self.limit: str | None = "60000"
        self.cluster = Cluster(settings)
        self.cluster.create_topics()
        self._publisher = Publisher(settings)
        self._held = ExitStack()
        self._started: list[Process] = []

    def start(self, pages: int, **environment: str) -> Process:
        """Start a walker whose source has so many pages; `environment` overlays its settings."""
        return self._start("walker_process.py", str(pages), environment=environment)

    def start_broken(self, arm: str, pages: int, **environment: str) -> Process:
        """Start one of the walkers that lack a rule: a control."""
        return self._start("broken_walker.py", arm, str(pages), environment=environment)

    def _start(self, *command: str, environment: dict[str, str]) -> Process:
        everything = self.environment() | environment
        process = self._held.enter_context(program(*command, environment=everything))
        self._started.append(process)
        return process

    def stop(self) -> None:
        """Have every process that still runs come to its end in order."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                ended_by(process, 0)

    def environment(self) -> dict[str, str]:
        """Return the settings of a process that belongs to this rig."""
        given = {name: getattr(self.settings, name) for name in self.settings.model_fields_set}
        environment = {"PAGESTREAM_TEST_SOURCE": str(self.source.folder)} | {
            f"PAGESTREAM_{name.upper()}": _written(name, value) for name, value in given.items()
        }
        if self.limit is not None:
            environment["PAGESTREAM_REQUESTS_PER_MINUTE"] = self.limit
        return environment

    def set(self, **settings: Any) -> None:
        """Change settings of the processes started from now on."""
        self.settings = self.settings.model_copy(update=settings)

    def close(self) -> None:
        """Kill what is left, and show what each wrote where the test failed."""
        self._held.close()

    def send(self, command: type[Request], table: Table, **fields: Any) -> str:
        """Send one command; return its id."""
        command_id = uuid.uuid4().hex
        message = command(
            site=table.site,
            kind=table.kind,
            command_id=command_id,
            sent_by="test",
            sent_at=datetime.now(UTC),
            **fields,
        )
        self.publish(outgoing(COMMANDS, table.key, table.partition, message))
        return command_id

    def publish(self, record: Outgoing) -> None:
        """Write one record."""
        self._publisher.publish([record])

    def begin(self, *tables: Table) -> None:
        """Ask for one walk of each of these tables, in responses of `ROWS` rows."""
        for table in tables:
            self.send(AddSite, table, municipality=Municipality(site=table.site))
            self.send(StartWalk, table, rows=ROWS)

    def records(self, topic: Topic) -> list[Record]:
        """Return every committed record of a topic, in order per partition."""
        return list(self.all_records(topic))

    def all_records(self, *topics: Topic) -> Iterator[Record]:
        """Yield every committed record of these topics, in order per partition."""
        partitions = [Partition(t.name, number) for t in topics for number in range(PARTITIONS)]
        ends = self.cluster.ends(partitions)
        with LogReader(self.settings) as reader:
            yield from reader.read(ends, seconds=_DEADLINE)

    def messages(self, topic: Topic) -> list[Message]:
        """Return every committed message of a topic that has a value."""
        return [decode(r.type_header, r.value) for r in self.records(topic) if r.value is not None]

    def state(self, table: Table) -> WalkState | None:
        """Return the newest state of a table."""
        states = [r for r in self.records(WALKS) if r.key == table.key]
        newest = decode(states[-1].type_header, states[-1].value) if states else None
        assert newest is None or isinstance(newest, WalkState)
        return newest

    def answer(self, table: Table, command_id: str, seconds: float = _DEADLINE) -> CommandAnswered:
        """Return the answer to a request; it must come within `seconds`."""
        deadline = time.monotonic() + seconds
        with LogReader(self.settings) as reader:
            reader.follow({Partition(LEDGER.name, table.partition): -2})
            while time.monotonic() < deadline:
                record = reader.poll(0.1)
                if not isinstance(record, Record):
                    continue
                event = decode(record.type_header, record.value)
                if isinstance(event, CommandAnswered) and event.command_id == command_id:
                    return event
        raise AssertionError(f"no answer to {command_id} within {seconds} s")

    def wait_for(
        self, table: Table, reached: Callable[[WalkState], bool], seconds: float = _DEADLINE
    ) -> WalkState:
        """Return the first state of a table that has `reached` what is waited for."""
        deadline = time.monotonic() + seconds
        seen: Message | None = None
        with LogReader(self.settings) as reader:
            reader.follow({Partition(WALKS.name, table.partition): -2})
            while time.monotonic() < deadline:
                record = reader.poll(0.5)
                if isinstance(record, Record) and record.key == table.key:
                    seen = decode(record.type_header, record.value)
                    assert isinstance(seen, WalkState)
                    if reached(seen):
                        return seen
        raise AssertionError(f"not reached within {seconds} s; the last state was {seen}")


def neighbours(number: int, count: int) -> list[Table]:
    """Return tables that share one partition."""
    tables = (Table(f"site-{place}", "minutes") for place in itertools.count())
    return list(itertools.islice((t for t in tables if t.partition == number), count))


def is_over(state: WalkState) -> bool:
    """Tell whether a walk has ended, well or not."""
    return state.status in ("unverified", "failed")


def ended_by(process: Process, code: int) -> str:
    """Wait for a process to end with this code, and return what it wrote."""
    _, said = process.communicate(timeout=_DEADLINE)
    assert process.returncode == code, said
    return said


def allow_bytes(settings: Settings, topic: Topic, most: int) -> None:
    """Have the broker refuse larger records in one topic from now on."""
    admin = AdminClient({"bootstrap.servers": settings.kafka})
    name = topic.full_name(settings.topic_prefix)
    limit = ConfigEntry("max.message.bytes", str(most), incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[limit])
    admin.incremental_alter_configs([changed])[changed].result(20)


@pytest.fixture
def walker_rig(kafka: KafkaCorner, tmp_path: Path) -> Iterator[WalkerRig]:
    """Fresh topics on the shared broker, and processes that end with the test."""
    settings = Settings(
        kafka=kafka.bootstrap, topic_prefix=kafka.prefix, state_directory=tmp_path, _env_file=None
    )
    rig = WalkerRig(settings)
    yield rig
    rig.close()
