"""Fixtures for walkers on a real broker: processes to kill, and what the log says afterwards."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from fix_services import KafkaCorner

from runtime.kafka.cluster import Cluster
from runtime.kafka.publisher import Publisher
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Outgoing, Partition, Record, outgoing
from runtime.settings import Settings
from schemas.codec import decode
from schemas.commands import AddSite, Request, StartWalk
from schemas.message import Message
from schemas.records import Municipality
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS, WALKS, Topic
from schemas.walks import WalkState

ROWS: Final = 20
"""Rows in each response of a test's walk."""

_DEADLINE: Final = 40.0


class WalkerRig:
    """Topics of one test's own, and the means to walk in them and to look at the outcome."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cluster = Cluster(settings)
        self.cluster.create_topics()
        self._publisher = Publisher(settings)
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, pages: int, **environment: str) -> subprocess.Popen[str]:
        """Start a walker whose source has so many pages; `environment` overlays its settings."""
        return self._start(["walker_process.py", str(pages)], environment)

    def start_broken(self, arm: str, pages: int, **environment: str) -> subprocess.Popen[str]:
        """Start one of the walkers that lack a rule: a control."""
        return self._start(["broken_walker.py", arm, str(pages)], environment)

    def _start(self, program: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        script, *arguments = program
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name(script)), *arguments],
            env={**os.environ, **self.environment(), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def environment(self) -> dict[str, str]:
        """Return the settings of a process that belongs to this rig."""
        return {
            "PAGESTREAM_KAFKA": self.settings.kafka,
            "PAGESTREAM_TOPIC_PREFIX": self.settings.topic_prefix,
            "PAGESTREAM_STATE_DIRECTORY": str(self.settings.state_directory),
        }

    def close(self) -> None:
        """Kill what is left, and show what each wrote where the test failed."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            _, written = process.communicate()
            sys.stderr.write(written or "")
            sys.stderr.flush()

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


def is_over(state: WalkState) -> bool:
    """Tell whether a walk has ended, well or not."""
    return state.status in ("unverified", "failed")


def ended_by(process: subprocess.Popen[str], code: int) -> str:
    """Wait for a process to end with this code, and return what it wrote."""
    _, said = process.communicate(timeout=_DEADLINE)
    assert process.returncode == code, said
    return said


@pytest.fixture
def walker_rig(kafka: KafkaCorner, tmp_path: Path) -> Iterator[WalkerRig]:
    """Fresh topics on the shared broker, and processes that end with the test."""
    settings = Settings(
        kafka=kafka.bootstrap, topic_prefix=kafka.prefix, state_directory=tmp_path, _env_file=None
    )
    rig = WalkerRig(settings)
    yield rig
    rig.close()
