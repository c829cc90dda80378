"""Hundreds of sites by one walker: its memory, its manners, and sites that do not answer.

Fault 28-dead-sites.

The everyday form has 500 sites of one table of 3 rows, and counts requests over seconds, at a limit
that lets it end. `PAGESTREAM_TEST_SITES_LIMIT=600` walks both tables of each at so many requests a
minute, and counts over whole minutes: it takes ten of them (`--timeout 1200`).
"""

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest
from fix_services import KafkaCorner
from fix_terminal import CommandLine
from many_sites import rows_of

from pagestream.embedded.datasette import EmbeddedDatasette
from pagestream.embedded.processes import spawn
from runtime.kafka.cluster import Cluster
from runtime.kafka.publisher import Publisher
from runtime.kafka.reading import LogReader
from runtime.kafka.records import EARLIEST, Partition, Record, outgoing
from runtime.settings import Settings
from schemas.codec import decode
from schemas.commands import AddSite, Request, StartWalk
from schemas.records import Municipality, Page
from schemas.tables import KINDS, PARTITIONS, Table
from schemas.topics import COMMANDS, PAGES, WALKS
from schemas.walks import WalkState

SITES: Final = [f"city-{number:03}" for number in range(500)]
LIMIT: Final = int(os.environ.get("PAGESTREAM_TEST_SITES_LIMIT", "9000"))
LONG: Final = LIMIT <= 1000
ALL: Final = [Table(site, kind) for site in SITES for kind in (KINDS if LONG else KINDS[1:])]
ROWS: Final = 3
SECOND: Final = len(SITES) if LONG else 150
"""So many of the sites are walked a second time, with others of them dead."""

ALLOWED: Final = LIMIT * 15 // 14
"""What a site allows in a minute where a walker takes 14 of 15, as it does of its own accord."""

WINDOW: Final = 60.0 if LONG else 5.0
PATIENCE: Final = 90.0 + 4000 / LIMIT * 60
MOST_MEMORY: Final = 250 << 20
_TABLES: Final = {"agenda": "agendas", "minutes": "minutes"}

Published = Counter[tuple[str, str, str, str | None]]
"""How often each page was published: site, kind, id, text."""


class ManySites(EmbeddedDatasette):
    """Hundreds of Datasettes in one process; `url` is where it is steered."""

    url = ""

    def launch(self, port: int) -> subprocess.Popen[bytes]:
        """Start the process on `port`."""
        script = Path(__file__).parents[1] / "many_sites.py"
        return spawn([self._python, "-I", script, str(port), str(ROWS)], self.log)

    def hang(self, *sites: str) -> None:
        """Have these sites answer nothing, and all others everything."""
        self._ask(f"/hang?sites={','.join(sites)}")

    def asked(self) -> list[tuple[float, str, str]]:
        """Return when each request came, in monotonic seconds, and the site and the path."""
        return [(at, site, path) for at, site, path in self._ask("/asked")]

    def _ask(self, path: str) -> Any:
        with urlopen(f"{self.url}{path}", timeout=30) as response:  # noqa: S310 - on loopback
            return json.load(response)


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[ManySites]:
    server = ManySites(tmp_path / "sites", [])
    server.url = server.start()
    yield server
    server.kill()


class Town:
    """All tables of all sites, as the log has them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.states: dict[Table, WalkState] = {}
        self._publisher = Publisher(settings)
        self._reader = LogReader(settings)
        self._reader.follow({Partition(WALKS.name, n): EARLIEST for n in range(PARTITIONS)})

    def send(self, command: type[Request], tables: Sequence[Table], **fields: Any) -> None:
        """Send a command to each of these tables."""
        sent = [
            command(
                site=table.site,
                kind=table.kind,
                command_id=f"{command.__name__} {table.key}",
                sent_by="test",
                sent_at=datetime.now(UTC),
                **fields,
            )
            for table in tables
        ]
        self._publisher.publish(
            [outgoing(COMMANDS, m.table.key, m.table.partition, m) for m in sent]
        )

    def wait_for(
        self, tables: Sequence[Table], reached: Callable[[WalkState], bool], seconds: float
    ) -> None:
        """Wait until these tables have all `reached` what is waited for."""
        deadline = time.monotonic() + seconds
        left = {t for t in tables if t not in self.states or not reached(self.states[t])}
        while left:
            assert time.monotonic() < deadline, f"{len(left)} left, of them {sorted(left)[:3]}"
            item = self._reader.poll(0.2)
            if isinstance(item, Record):
                state = decode(item.type_header, item.value)
                assert isinstance(state, WalkState)
                self.states[state.table] = state
                if reached(state):
                    left.discard(state.table)

    def pages(self) -> Published:
        """Return what was published."""
        cluster = Cluster(self._settings)
        ends = cluster.ends([Partition(PAGES.name, n) for n in range(PARTITIONS)])
        with LogReader(self._settings) as reader:
            read = [r for r in reader.read(ends, seconds=60) if r.value is not None]
        found = [decode(r.type_header, r.value) for r in read]
        return Counter((p.site, p.kind, p.id, p.text) for p in found if isinstance(p, Page))


def expected_pages() -> Published:
    return Counter(
        (table.site, table.kind, row[0], row[4])
        for table in ALL
        for row in rows_of(table.site, _TABLES[table.kind], ROWS)
    )


@pytest.fixture
def line(tmp_path: Path, kafka: KafkaCorner, sites: ManySites) -> Iterator[CommandLine]:
    line = CommandLine(
        tmp_path,
        kafka=kafka.bootstrap,
        topic_prefix=kafka.prefix,
        source_url=sites.url.replace("127.0.0.1", "{subdomain}.localhost"),
        requests_per_minute=str(LIMIT),
        source_read_timeout="3600",
        source_deadline="3600",
    )
    line.ok("topics", "--create")
    yield line
    line.close()


@pytest.fixture
def town(line: CommandLine, kafka: KafkaCorner) -> Town:
    """All sites, asked to be known."""
    settings = Settings(
        kafka=kafka.bootstrap,
        topic_prefix=kafka.prefix,
        state_directory=line.folder,
        _env_file=None,
    )
    town = Town(settings)
    for site in SITES:
        mine = [table for table in ALL if table.site == site]
        town.send(AddSite, mine, municipality=Municipality(site=site))
    return town


def memory_of(process: subprocess.Popen[str]) -> int:
    """Return the most bytes of memory that a process has taken so far."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (peak,) = (each for each in status.splitlines() if each.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


def most_in(window: float, times: Sequence[float]) -> int:
    """Return how many requests came in the busiest stretch of so many seconds."""
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


def is_over(walk: int) -> Callable[[WalkState], bool]:
    return lambda state: state.walk == walk and state.status == "unverified"


def test_500_sites_are_walked_by_one_process_whichever_of_them_are_dead(
    line: CommandLine, town: Town, sites: ManySites
) -> None:
    walker = line.start("run", "walker", log_level="error")
    town.wait_for(ALL, lambda state: state.revision > 0, PATIENCE)

    with dead(town, sites, SITES[:10], ALL, walk=1):
        line.ok("backfill", "--subdomain", "all", "--no-wait", seconds=PATIENCE)
    assert town.pages() == expected_pages()

    some = [table for table in ALL if table.site in SITES[:SECOND]]
    with dead(town, sites, SITES[SECOND - 20 : SECOND], some, walk=2):
        town.send(StartWalk, some, mode="verify")
    assert {(state.listed, state.retries) for state in town.states.values()} == {(ROWS, 0)}

    times = sorted(at for at, _, _ in sites.asked())
    assert most_in(WINDOW, times) <= ALLOWED * WINDOW / 60
    assert memory_of(walker) <= MOST_MEMORY


@contextmanager
def dead(
    town: Town, sites: ManySites, hanging: Sequence[str], tables: Sequence[Table], *, walk: int
) -> Iterator[None]:
    """Have sites not answer while all are walked, until those that need not wait for them are over.

    Those share no partition with a dead one. A dead site is asked once for each of its tables at
    most, and its request may take an hour: who waited for one would never come to an end.
    """
    sites.hang(*hanging)
    before = len(sites.asked())
    yield
    behind = {table.partition for table in tables if table.site in hanging}
    apart = [table for table in tables if table.partition not in behind]
    assert len(apart) > len(tables) // 3
    town.wait_for(apart, is_over(walk), PATIENCE)
    asked = [site for _, site, _ in sites.asked()[before:] if site in hanging]
    assert len(asked) <= len(hanging) * len(KINDS)
    over = [town.states[table] for table in tables if table.site in hanging]
    assert not any(map(is_over(walk), over))
    sites.hang()
    town.wait_for(tables, is_over(walk), PATIENCE)
