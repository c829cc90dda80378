"""The road of one run: servers of its own behind proxies, two walkers and two sinks."""

import os
import shutil
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg
from fix_proxy import ProxiedKafka
from fix_services import migrate
from fix_source import METADATA, UNTYPED, Row, build_database, make_page, make_pages
from fix_walker import WalkerRig
from proxy import Proxy
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr
from servers import kill_all, quick_postgres, state_directory

from pagestream.embedded.datasette import EmbeddedDatasette
from pagestream.embedded.server import EmbeddedServer
from pagestream.embedded.stack import Stack
from runtime.settings import Settings
from schemas.commands import AddSite, StartWalk
from schemas.records import Municipality
from schemas.tables import Table
from soak.plan import KINDS, SERVERS, WORKERS, Plan, Server
from soak.workers import Worker, role_command

_PREFIX: Final = "soak"
_PATIENT: Final = {"sql_time_limit_ms": 20_000}

SinkCommand = Sequence[str | Path]


class Road:
    """Everything that one run needs, running. A context manager; `folder` keeps the logs.

    `sink_command` is what a sink's process is, where it is not the real one.
    """

    def __init__(self, plan: Plan, folder: Path, sink_command: SinkCommand | None = None) -> None:
        self.plan = plan
        self.folder = folder
        self._sink_command = sink_command or role_command("sink")
        self._held = ExitStack()
        self._starts: list[threading.Thread] = []
        self._down: set[Server] = set()
        self._markers_lost = False
        self._asked: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        )
        self.rig = WalkerRig(settings)
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
        kafka, self.database, self._source = Stack(state / "stack", servers).start()
        port = conninfo_to_dict(self.database)["port"]
        self._postgres_proxy = self._held.enter_context(Proxy(f"127.0.0.1:{port}"))
        return kafka

    def _worker(self, name: str) -> Worker:
        role = name.partition("-")[0]
        command = self._sink_command if role == "sink" else role_command(role)
        return Worker(name, command, self._environment(name), self.folder / f"{name}.log")

    def _environment(self, name: str) -> dict[str, str]:
        host, _, port = self._postgres_proxy.address.partition(":")
        address = self._source.removeprefix("http://")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PAGESTREAM_", "PYTHON"))}
        return kept | {
            "PAGESTREAM_KAFKA": self._kafka.proxied,
            "PAGESTREAM_TOPIC_PREFIX": _PREFIX,
            "PAGESTREAM_DATABASE": make_conninfo(self.database, host=host, port=port),
            "PAGESTREAM_STATE_DIRECTORY": str(self.rig.settings.state_directory),
            "PAGESTREAM_SOURCE_URL": f"http://{{subdomain}}.localhost:{address.rpartition(':')[2]}",
            "PAGESTREAM_SOURCE_CONNECT": address,
            "PAGESTREAM_REQUESTS_AT_ONCE": "4",
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

    @property
    def asked(self) -> frozenset[str]:
        """The ids of all commands that were sent."""
        return frozenset(self._asked)

    def add_sites(self) -> None:
        """Add every site, and ask for a walk of each of its tables."""
        for table in self.plan.tables:
            site = Municipality(site=table.site, name=table.site.title())
            self._asked.append(self.rig.send(AddSite, table, municipality=site))
            self.ask_for_walk(table)

    def ask_for_walk(self, table: Table) -> None:
        """Ask for a walk; Kafka must be up."""
        self._asked.append(self.rig.send(StartWalk, table, rows=self.plan.rows))

    def failed_tables(self) -> list[Table]:
        """Return the tables whose newest walk failed."""
        query = "SELECT subdomain, kind FROM pagestream.walk WHERE status = 'failed'"
        with psycopg.connect(self.database) as connection:
            return [Table(site, kind) for site, kind in connection.execute(query)]

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

    def heal(self) -> None:
        """Have both servers within reach, and every worker awake."""
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
        """Start and thaw workers as is due."""
        for worker in self.workers.values():
            worker.tend()

    def _server(self, server: Server) -> EmbeddedServer:
        return self._kafka if server == "kafka" else self._postgres


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
