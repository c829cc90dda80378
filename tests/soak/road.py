"""The road of one run: servers of its own, the source with its troubles, two walkers, two sinks."""

import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Self

from fault_source import FaultSource, Plot
from fault_time import SteeredTime
from fix_proxy import ProxiedKafka
from fix_services import migrate
from fix_source import (
    METADATA,
    UNTYPED,
    Row,
    SourceSite,
    build_database,
    make_page,
    make_pages,
)
from fix_walker import WalkerRig
from oracle import expected_page
from proxy import Proxy
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr
from servers import kill_all, quick_postgres, state_directory

from pagestream.embedded.datasette import EmbeddedDatasette
from pagestream.embedded.server import EmbeddedServer
from pagestream.embedded.stack import Stack
from runtime.settings import Settings
from schemas.commands import AddSite, StartWalk
from soak.person import Person, Watch, municipality
from soak.plan import KINDS, SERVERS, WORKERS, Plan, Server
from soak.workers import Worker, role_command

_PREFIX: Final = "soak"
_PATIENT: Final = {"sql_time_limit_ms": 20_000}
_RETRY_WAITS: Final = (0.2, 0.4, 0.8)
_SECOND_LOOK_SECONDS: Final = 3.0
_START_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.05
_WINDOW_BEGINS: Final = date(2010, 4, 1)
"""Where an incremental walk begins: some of the source's pages are older."""

HASTY_WALKER: Final = (sys.executable, "-P", "-m", "soak.hasty_walker")

Command = Sequence[str | Path]


class Road:
    """Everything that one run needs, running. A context manager; `folder` keeps the logs.

    `commands` are what the processes of a role are, where they are not the usual ones.
    """

    def __init__(
        self, plan: Plan, folder: Path, commands: Mapping[str, Command] | None = None
    ) -> None:
        self.plan = plan
        self.folder = folder
        self._commands = {"sink": role_command("sink"), "walker": HASTY_WALKER} | {
            **(commands or {})
        }
        self._held = ExitStack()
        self._starts: list[threading.Thread] = []
        self._down: set[Server] = set()
        self._markers_lost = False

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_raised: object) -> None:
        self._held.close()

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self._held.enter_context(state_directory())
        self.database_file = state / "meetings.db"
        _fill(self.database_file, self.plan)
        kafka = self._start_servers(state)
        migrate(self.database)
        settings = Settings(
            kafka=kafka,
            topic_prefix=_PREFIX,
            database=SecretStr(self.database),
            state_directory=state,
            _env_file=None,
            **self._walking,
        )
        self.rig = WalkerRig(settings)
        self.watch = Watch(self.rig)
        self._held.callback(self.watch.close)
        ids = {kind: list(self.source_rows(kind)[0]) for kind in KINDS}
        log = self.folder / "commands.log"
        self.person = Person(self.rig, self.watch, self.plan.rows, ids, log)
        self.workers = {name: self._worker(name) for name in WORKERS}
        self._held.callback(self._end_workers)
        for worker in self.workers.values():
            worker.start()

    def _start_servers(self, state: Path) -> str:
        """Start them all, side by side; return Kafka's address for ourselves, not the workers."""
        self._kafka = ProxiedKafka(state / "kafka")
        self._held.callback(self._kafka.proxy.close)
        self._postgres = quick_postgres(state / "postgres")
        source = EmbeddedDatasette(
            state / "datasette", [self.database_file], metadata=METADATA, settings=_PATIENT
        )
        servers: list[EmbeddedServer] = [self._kafka, self._postgres, source]
        self._held.callback(self._keep_logs, *servers)
        self._held.callback(kill_all, *servers)
        kafka, self.database, address = Stack(state / "stack", servers).start()
        self._source = self._held.enter_context(FaultSource(SteeredTime(state / "time")))
        site = SourceSite(address, self.database_file, "0.65")
        self.plots = {name: self._source.plot(name, site) for name in self.plan.sites}
        port = conninfo_to_dict(self.database)["port"]
        self._postgres_proxy = self._held.enter_context(Proxy(f"127.0.0.1:{port}"))
        return kafka

    def _worker(self, name: str) -> Worker:
        command = self._commands[name.partition("-")[0]]
        return Worker(name, command, self._environment(name), self.folder / f"{name}.log")

    @property
    def _walking(self) -> dict[str, Any]:
        """The settings of a walker that whoever decides its commands again must know."""
        return {
            "retry_waits": _RETRY_WAITS,
            "rows_per_response": self.plan.rows,
            "second_look_after": _SECOND_LOOK_SECONDS,
            "verdict_timeout": self.plan.verdict_timeout,
            "window_days": (datetime.now(UTC).date() - _WINDOW_BEGINS).days,
        }

    def _environment(self, name: str) -> dict[str, str]:
        host, _, port = self._postgres_proxy.address.partition(":")
        walking = {f"PAGESTREAM_{n.upper()}": _written(v) for n, v in self._walking.items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PAGESTREAM_", "PYTHON"))}
        return {
            **kept,
            **walking,
            "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[1:3])),
            "PAGESTREAM_KAFKA": self._kafka.proxied,
            "PAGESTREAM_TOPIC_PREFIX": _PREFIX,
            "PAGESTREAM_DATABASE": make_conninfo(self.database, host=host, port=port),
            "PAGESTREAM_STATE_DIRECTORY": str(self.rig.settings.state_directory),
            "PAGESTREAM_SOURCE_URL": self._source.source_url,
            "PAGESTREAM_SOURCE_CONNECT": self._source.address,
            "PAGESTREAM_REQUESTS_AT_ONCE": "16",
            "PAGESTREAM_SINK_BATCH": str(self.plan.batch),
            "PAGESTREAM_WALKER_SLOT": name,
            "PAGESTREAM_SINK_SLOT": name,
        }

    def _end_workers(self) -> None:
        for worker in self.workers.values():
            worker.end()

    def _keep_logs(self, *servers: EmbeddedServer) -> None:
        for server in servers:
            if server.log.exists():
                shutil.copy(server.log, self.folder / f"{server.state.name}.log")

    # What a person does

    def add_sites(self) -> None:
        """Add every site, and ask for a walk of each table; return when the walkers know all."""
        for table in self.plan.tables:
            self.person.ask(AddSite, table, municipality=municipality(table))
            self.person.ask(StartWalk, table, rows=self.plan.rows)
        deadline = time.monotonic() + _START_SECONDS
        while self.watch.states.keys() != set(self.plan.tables):
            assert time.monotonic() < deadline, f"only {list(self.watch.states)} were begun"
            self.tend()
            time.sleep(_LOOK_SECONDS)

    def source_rows(self, kind: str) -> tuple[dict[str, str], frozenset[str]]:
        """Return the ids of the source's rows with their dates, and those that cannot be stored."""
        with closing(sqlite3.connect(self.database_file)) as source:
            source.row_factory = sqlite3.Row
            table = {"agenda": "agendas", "minutes": "minutes"}[kind]
            query = f"SELECT * FROM {table} ORDER BY id"
            rows = [dict(row) for row in source.execute(query)]
        stored = {row["id"]: row["date"] for row in rows if expected_page(row) is not None}
        return stored, frozenset(row["id"] for row in rows if row["id"] not in stored)

    # What befalls the servers

    def proxy(self, server: Server) -> Proxy:
        """Return what stands between the workers and a server."""
        return self._kafka.proxy if server == "kafka" else self._postgres_proxy

    def kill(self, server: Server) -> None:
        """Kill a server that is up, without a trace."""
        self.broker_lost_markers()  # the log of this life is not kept for long
        self._down.add(server)
        self._server(server).kill()

    def start_again(self, server: Server) -> None:
        """Begin to start a server that was killed; do not wait."""

        def start() -> None:
            self._server(server).start()
            self._down.discard(server)

        self._starts.append(threading.Thread(target=start, name=f"start {server}"))
        self._starts[-1].start()

    def is_up(self, server: Server) -> bool:
        """Tell whether a server serves."""
        return server not in self._down

    def plot(self, site: str) -> Plot:
        """Return what goes wrong at a site."""
        return self.plots[site]

    def heal(self) -> None:
        """Have the source well, both servers within reach, and every worker awake."""
        for plot in self.plots.values():
            plot.heal()
        for start in self._starts:
            start.join()
        assert not self._down, f"{self._down} did not start again: see the log"
        for server in SERVERS:
            proxy = self.proxy(server)
            proxy.delay(0)
            proxy.thaw()
            proxy.accept()
        for worker in self.workers.values():
            worker.thaw()

    def broker_lost_markers(self) -> bool:
        """Tell whether the broker has left a transaction open for ever, by a fault of its own.

        Killed after it has noted that a transaction commits, and before it has told the partitions,
        it may note on its return that they were told, although they were not: Kafka 4.3.1, with one
        broker. `kafka-transactions.sh abort` is what an operator has for it.
        """
        self._markers_lost |= b"likely deleted already" in self._kafka.log.read_bytes()
        return self._markers_lost

    def tend(self) -> None:
        """Start and thaw workers as is due, and see what they have done."""
        for worker in self.workers.values():
            worker.tend()
        self.watch.update()

    def _server(self, server: Server) -> EmbeddedServer:
        return self._kafka if server == "kafka" else self._postgres


def _written(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _fill(path: Path, plan: Plan) -> None:
    """Write the source's file: pages, and in each table a few rows that cannot be stored."""
    pages = {"agenda": plan.agendas, "minutes": plan.minutes}
    content = {kind: [*make_pages(kind, pages[kind], plan.seed), *_bad(kind)] for kind in KINDS}
    build_database(path, agendas=content["agenda"], minutes=content["minutes"], columns=UNTYPED)


def _bad(kind: str) -> list[Row]:
    return [
        {**make_page(kind, "Bad", "2024-01-01", 1, "no number"), "page": "one"},
        make_page(kind, "Bad", "2024-01-02", 2, "no text\0 that can be stored"),
        make_page(kind, "Bad", "2024-01-03", 3, "no id", id="\N{BELL}"),
    ]
