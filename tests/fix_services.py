"""Fixtures for real Kafka and PostgreSQL servers, and for a test's own corner of them.

The processes of `pytest -n` share one set of servers, which the process that directs them starts
when the first test asks for it:

1. A worker makes the file `wanted`, and waits for `ready`.
2. The director starts the servers and writes `ready`: their addresses, or why there are none.
3. The director ends the servers after the last worker.
"""

import json
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr
from servers import (
    Backend,
    Services,
    choose_backend,
    quick_kafka,
    quick_postgres,
    running,
    state_directory,
)

from pagestream.embedded.kafka import EmbeddedKafka
from pagestream.embedded.postgres import EmbeddedPostgres
from pagestream.embedded.server import EmbeddedServer
from runtime.database import migrating
from runtime.settings import Settings

_ADMIN_SECONDS: Final = 30.0
_START_SECONDS: Final = 200.0

_Server = TypeVar("_Server", bound=EmbeddedServer)


@dataclass(frozen=True)
class KafkaCorner:
    """A broker shared with other tests, and the prefix that is this test's alone.

    Topics that begin with the prefix are deleted after the test.
    """

    bootstrap: str
    prefix: str


class SharedServers:
    """The director's side: servers that start when a worker wants them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._folder = tempfile.TemporaryDirectory(prefix="pagestream-shared-")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="shared-servers")
        self._thread.start()

    @property
    def folder(self) -> str:
        """Where workers ask and are answered."""
        return self._folder.name

    def close(self) -> None:
        """End the servers."""
        self._over.set()
        self._thread.join()
        self._folder.cleanup()

    def _serve(self) -> None:
        folder = Path(self.folder)
        while not (folder / "wanted").exists():
            if self._over.wait(0.05):
                return
        try:
            with running(self._backend) as services:
                self._answer(asdict(services))
                self._over.wait()
        except Exception as error:  # whatever it is, every worker must hear of it
            self._answer({"error": f"{type(error).__name__}: {error}"})
            raise

    def _answer(self, answer: dict[str, Any]) -> None:
        written = Path(self.folder) / "ready.new"
        written.write_text(json.dumps(answer))
        written.rename(written.with_name("ready"))


@contextmanager
def directed(folder: Path) -> Iterator[Services]:
    """Have the servers that all workers of this run share."""
    (folder / "wanted").touch()
    ready, deadline = folder / "ready", time.monotonic() + _START_SECONDS
    while not ready.exists():
        assert time.monotonic() < deadline, "the servers should have started"
        time.sleep(0.05)
    answer = json.loads(ready.read_text())
    if "error" in answer:
        pytest.fail(f"the servers did not start: {answer['error']}", pytrace=False)
    yield Services(**answer)


_BACKEND: Final = pytest.StashKey[Backend]()
_SHARED: Final = pytest.StashKey[SharedServers]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_BACKEND] = choose_backend()
    if config.getoption("numprocesses", None):
        config.stash[_SHARED] = SharedServers(config.stash[_BACKEND])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["servers"] = node.config.stash[_SHARED].folder


def pytest_unconfigure(config: pytest.Config) -> None:
    if _SHARED in config.stash:
        config.stash[_SHARED].close()


def pytest_report_header(config: pytest.Config) -> str:
    return f"servers: {config.stash[_BACKEND]}"


@pytest.fixture(scope="session")
def services(pytestconfig: pytest.Config) -> Iterator[Services]:
    """Kafka and PostgreSQL, shared by all tests: use your own corner of them."""
    worker = getattr(pytestconfig, "workerinput", None)
    shared = directed(Path(worker["servers"])) if worker else None
    with shared or running(pytestconfig.stash[_BACKEND]) as running_services:
        yield running_services


@contextmanager
def _of_its_own(make: Callable[[Path], _Server]) -> Iterator[_Server]:
    with state_directory() as state:
        server = make(state)
        yield server
        server.kill()


@pytest.fixture
def private_kafka() -> Iterator[EmbeddedKafka]:
    """A broker of the test's own, not started: to kill, stop and start again (same port)."""
    with _of_its_own(quick_kafka) as server:
        yield server


@pytest.fixture
def private_postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of the test's own, not started: to kill, stop and start again (same port)."""
    with _of_its_own(quick_postgres) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_admin(services: Services) -> AdminClient:
    return AdminClient({"bootstrap.servers": services.kafka})


@pytest.fixture
def kafka(services: Services, kafka_admin: AdminClient) -> Iterator[KafkaCorner]:
    """The shared broker with a prefix for this test's topics and groups."""
    prefix = f"test-{uuid.uuid4().hex[:10]}"
    yield KafkaCorner(services.kafka, prefix)
    topics = kafka_admin.list_topics(timeout=_ADMIN_SECONDS).topics
    mine = [name for name in topics if name.startswith(prefix)]
    if mine:
        for deleted in kafka_admin.delete_topics(mine).values():
            deleted.result(_ADMIN_SECONDS)


def _connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url, autocommit=True)


@contextmanager
def created_database(services: Services, template: str | None) -> Iterator[str]:
    """Have a new database for the block, empty or a copy of `template`; yields its URL."""
    name = f"test_{uuid.uuid4().hex[:10]}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
        sql.Identifier(name),
        sql.Identifier(template or "template0"),
        # A copy of files needs two checkpoints: nothing without fsync, slow on a server with it.
        sql.SQL("file_copy" if services.backend == "embedded" else "wal_log"),
    )
    with _connect(services.database) as connection:
        connection.execute(statement)
    yield make_conninfo(services.database, dbname=name)
    with _connect(services.database) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(services: Services) -> Iterator[str]:
    """The connection string of an empty database that is this test's alone."""
    with created_database(services, None) as url:
        yield url


def migrate(database: str) -> None:
    """Bring an empty database to the newest schema."""
    migrating.migrate(Settings(database=SecretStr(database)))


@pytest.fixture(scope="session")
def migrated_template(services: Services) -> Iterator[str]:
    """The name of a migrated database to copy: migrations run once, not once a test."""
    with created_database(services, None) as url:
        migrate(url)
        yield str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def migrated_database(services: Services, migrated_template: str) -> Iterator[str]:
    """The connection string of a migrated, otherwise empty database that is this test's alone."""
    with created_database(services, migrated_template) as url:
        yield url
