"""Fixtures for walks of sites in trouble: one walker for all of them, on topics of its own."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from confluent_kafka.admin import AdminClient
from fault_source import FaultSource, Plot
from fault_time import SteeredTime
from fix_source import SourceFarm, SourceSite, make_pages
from fix_walker import WalkerRig
from servers import Services

from runtime.kafka.reading import LogReader
from runtime.kafka.records import EARLIEST, Partition, Record
from runtime.settings import Settings
from schemas.codec import decode
from schemas.commands import AddSite, RetryWalk, StartWalk
from schemas.events import (
    CommandAnswered,
    Event,
    SourceListed,
    StepWalked,
    WalkEnded,
    WalkFailed,
    WalkStarted,
)
from schemas.message import Message
from schemas.records import DeadLetter, Municipality, Page, WalkBarrier
from schemas.tables import Kind, Table
from schemas.topics import DEAD_LETTERS, LEDGER, PAGES, WALKS, Topic
from schemas.walks import WalkState

ROWS: Final = 50
"""Rows in each response of a walk of `MINUTES` pages: the third holds the rest."""

MINUTES: Final = 120
AGENDAS: Final = 12
_DEADLINE: Final = 60.0

TRIES: Final = 4
"""How often a step is tried: once, and after each of three waits."""


@dataclass(frozen=True)
class Walked:
    """All that was published of one table, in order."""

    pages: list[Page]
    barriers: list[WalkBarrier]
    letters: list[DeadLetter]
    events: list[Event]
    tombstones: int

    @property
    def ids(self) -> list[str]:
        """The ids of the pages, in the order in which they were published."""
        return [page.id for page in self.pages]

    @property
    def listed(self) -> list[str]:
        """The ids of the newest listing."""
        slices = [event for event in self.events if isinstance(event, SourceListed)]
        first = max(n for n, each in enumerate(slices) if each.after is None)
        return [page_id for each in slices[first:] for page_id in each.ids]

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of one type."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def steps(self) -> list[int]:
        """The numbers of the steps that were taken."""
        taken = (e for e in self.events if isinstance(e, StepWalked | SourceListed))
        return [event.step for event in taken]


class FaultRig(WalkerRig):
    """A walker process, the sites that it walks, each with its own plot, and what came of them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.time = SteeredTime(self.source.folder / "time")
        self.server = FaultSource(self.time).__enter__()
        self._log = settings.state_directory / "walker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = LogReader(settings)
        self._failed: dict[Table, int] = {}

    def run(self) -> None:
        """Start the walker; one that runs already is killed."""
        self.kill()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("fault_walker.py"))],
                env={**os.environ, **self.environment()},
                stderr=log,
                stdout=log,
            )

    def kill(self) -> None:
        """Kill the walker, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Kill what is left, and show what the walker wrote."""
        self.kill()
        self.server.__exit__()
        self._reader.__exit__()
        super().close()
        sys.stderr.write(self._log.read_text(errors="replace")[-20_000:])

    @property
    def most_memory(self) -> int:
        """The most bytes of memory that the walker has taken so far."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def plot(
        self, site: SourceSite, kind: Kind = "minutes", **settings: object
    ) -> tuple[Table, Plot]:
        """Have a Datasette served as a site with a name of its own; return its table and plot.

        `settings` are those of the walker's way to it. Sites share a request limit only where
        `apart` is the same.
        """
        name = f"site-{uuid.uuid4().hex[:10]}"
        plot = self.server.plot(name, site)
        self.place(name, **{"apart": name, **settings})
        return Table(name, kind), plot

    def place(self, name: str, **settings: object) -> None:
        """Have the walker ask a site with these settings from now on."""
        ours = {"source_url": self.server.source_url, "source_connect": self.server.address}
        new = self.source.folder / f"{name}.new"
        new.write_bytes(msgspec.json.encode({**ours, **settings}))
        new.rename(self.source.folder / f"{name}.json")

    def add(self, *tables: Table) -> None:
        """Make tables known."""
        for table in tables:
            self.send(AddSite, table, municipality=Municipality(site=table.site))

    def begin_walk(self, *tables: Table, rows: int = ROWS) -> None:
        """Make tables known and ask for a walk of each."""
        self.add(*tables)
        for table in tables:
            self.send(StartWalk, table, rows=rows)

    def reaches(self, table: Table, *statuses: str, walk: int = 1) -> WalkState:
        """Return the state in which a walk has one of these statuses, and no try to wait for."""
        return self.wait_for(
            table, lambda state: state.walk == walk and state.status in statuses, _DEADLINE
        )

    def fails(self, table: Table) -> WalkState:
        """Return the state of a walk that fails."""
        state = self.reaches(table, "failed", "unverified", "completed")
        assert state.status == "failed", state
        self._failed[table] = state.revision
        return state

    def ends(self, table: Table, walk: int = 1) -> WalkState:
        """Return the state of a walk that comes to its end."""
        state = self.reaches(table, "unverified", "failed", "completed", walk=walk)
        assert state.status == "unverified", state
        return state

    def retry(self, table: Table) -> WalkState:
        """Try a walk again that was seen to fail, and return the state of its end."""
        failed = self._failed[table]
        self.send(RetryWalk, table, walk=1)

        def is_over(state: WalkState) -> bool:
            return state.revision > failed and state.status in ("unverified", "failed")

        over = self.wait_for(table, is_over)
        assert (over.status, over.walk) == ("unverified", 1), over
        return over

    def wait_for(
        self, table: Table, reached: Callable[[WalkState], bool], seconds: float = _DEADLINE
    ) -> WalkState:
        """Return the first state of a table that has `reached` what is waited for."""
        seen: Message | None = None
        for record in self.following(WALKS, table, seconds):
            seen = decode(record.type_header, record.value)
            assert isinstance(seen, WalkState)
            if reached(seen):
                return seen
        raise AssertionError(f"not reached within {seconds} s; the last state was {seen}")

    def following(self, topic: Topic, table: Table, seconds: float) -> Iterator[Record]:
        """Yield the records of a table, from the first on, and those that come in this time."""
        deadline = time.monotonic() + seconds
        self._reader.follow({Partition(topic.name, table.partition): EARLIEST})
        while time.monotonic() < deadline:
            item = self._reader.poll(0.5)
            if isinstance(item, Record) and item.key == table.key:
                yield item

    def walked(self, table: Table) -> Walked:
        """Return all that was published of a table so far."""
        partitions = [
            Partition(topic.name, table.partition) for topic in (PAGES, LEDGER, DEAD_LETTERS)
        ]
        read = list(self._reader.read(self.cluster.ends(partitions), seconds=_DEADLINE))
        mine = [r for r in read if (r.key or "").startswith((f"{table.key}/", f"{table.key}#"))]
        mine += [r for r in read if r.key == table.key]
        said = [decode(r.type_header, r.value) for r in mine if r.value is not None]
        return Walked(
            [m for m in said if isinstance(m, Page)],
            [m for m in said if isinstance(m, WalkBarrier)],
            [m for m in said if isinstance(m, DeadLetter)],
            [m for m in said if isinstance(m, Event)],
            sum(r.value is None for r in mine),
        )

    def assert_whole(self, table: Table, rows: Sequence[Any]) -> Walked:
        """Check a walk that came to its end: these rows once each, as they are, and all listed."""
        walked = self.walked(table)
        assert [as_row(page) for page in walked.pages] == list(rows)
        assert walked.listed == [row["id"] for row in rows]
        assert walked.steps == list(range(len(walked.steps)))
        assert [barrier.number for barrier in walked.barriers] == [1]
        assert (walked.letters, walked.tombstones) == ([], 0)
        assert [len(walked.of(kind)) for kind in (WalkStarted, WalkEnded)] == [1, 1]
        return walked


def as_row(page: Page) -> dict[str, Any]:
    """Return a page as the row that its site holds."""
    return {
        "id": page.id,
        "meeting": page.meeting,
        "date": page.date,
        "page": page.page,
        "text": page.text,
        "page_image": page.page_image,
        "entities_json": page.entities,
        "votes_json": page.votes,
    }


def failure_of(walked: Walked) -> WalkFailed:
    """Return how a walk failed, which it did once."""
    (failed,) = walked.of(WalkFailed)
    assert isinstance(failed, WalkFailed)
    return failed


def answer_to(
    rig: FaultRig, table: Table, command_id: str, seconds: float = _DEADLINE
) -> CommandAnswered:
    """Wait for the ledger's word on a request."""
    for record in rig.following(LEDGER, table, seconds):
        said = decode(record.type_header, record.value)
        if isinstance(said, CommandAnswered) and said.command_id == command_id:
            return said
    raise AssertionError(f"command {command_id} was not answered within {seconds} s")


def fault_settings(services: Services, folder: Path, prefix: str) -> Settings:
    """Return the settings of a walker whose retries wait for moments, and that walks when asked."""
    return Settings(
        kafka=services.kafka,
        topic_prefix=prefix,
        state_directory=folder,
        retry_waits=(0.02, 0.04, 0.08),
        full_every=None,
        incremental_every=None,
        verify_every=None,
        log_level="error",
        _env_file=None,
    )


@pytest.fixture(scope="session")
def fault_rig(
    services: Services, kafka_admin: AdminClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultRig]:
    """A walker at work, for all tests of a process: take a site of the test's own."""
    prefix = f"test-{uuid.uuid4().hex[:10]}"
    rig = FaultRig(fault_settings(services, tmp_path_factory.mktemp("faults"), prefix))
    rig.run()
    yield rig
    rig.close()
    topics = [name for name in kafka_admin.list_topics(timeout=30).topics if prefix in name]
    for deleted in kafka_admin.delete_topics(topics).values():
        deleted.result(30)


@pytest.fixture
def quiet_site(source_farm: SourceFarm) -> SourceSite:
    """A real Datasette 1.0 of three responses of minutes and a few agendas; read it only."""
    return site_of(source_farm, "1.0")


def site_of(farm: SourceFarm, version: Any) -> SourceSite:
    """Return a running site with the usual content; read it only."""
    return farm.shared(
        version=version,
        minutes=make_pages("minutes", MINUTES),
        agendas=make_pages("agenda", AGENDAS),
    )
