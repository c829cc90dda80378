"""Which servers a test run uses, and how each kind is started.

The first of these that fits decides, once per run:

1. `PAGESTREAM_TEST_KAFKA` and `PAGESTREAM_TEST_DATABASE`: servers that somebody else runs;
2. containers, when a Docker engine answers;
3. the embedded servers.

`PAGESTREAM_TEST_BACKEND=docker` or `=embedded` forces the second or the third.
"""

import gc
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pytest

from pagestream.embedded.kafka import EmbeddedKafka
from pagestream.embedded.postgres import FORGETFUL, EmbeddedPostgres
from pagestream.embedded.processes import free_port
from pagestream.embedded.server import EmbeddedServer
from pagestream.embedded.stack import Stack

Backend = Literal["given", "docker", "embedded"]

KAFKA_IMAGE: Final = "apache/kafka:4.3.1"
POSTGRES_IMAGE: Final = "postgres:18-alpine"
_START_SECONDS: Final = 120
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the folder inside has a name of its own
_MEMORY_BYTES: Final = 4 << 30


@dataclass(frozen=True)
class Services:
    """The servers of this run: Kafka's bootstrap address, PostgreSQL's URL, and whose they are."""

    kafka: str
    database: str
    backend: Backend


def choose_backend() -> Backend:
    """Return whose servers this run uses."""
    forced = os.environ.get("PAGESTREAM_TEST_BACKEND")
    if forced == "embedded":
        return "embedded"
    if forced == "docker" and not _docker_answers_quietly():
        raise pytest.UsageError("PAGESTREAM_TEST_BACKEND=docker: no Docker engine answers")
    if forced == "docker":
        return "docker"
    if forced:
        raise pytest.UsageError(f"PAGESTREAM_TEST_BACKEND={forced}: must be docker or embedded")
    given = [f"PAGESTREAM_TEST_{name}" in os.environ for name in ("KAFKA", "DATABASE")]
    if any(given):
        if not all(given):
            raise pytest.UsageError("set both PAGESTREAM_TEST_KAFKA and PAGESTREAM_TEST_DATABASE")
        return "given"
    return "docker" if _docker_answers_quietly() else "embedded"


def _docker_answers() -> bool:
    """Ask the engine: a client alone runs no containers."""
    import docker  # noqa: PLC0415 - a second of import that most runs do without

    try:
        client = docker.from_env(timeout=3)
    except docker.errors.DockerException:
        return False
    client.close()
    return True


def _docker_answers_quietly() -> bool:
    """Ask the engine, and sweep up the socket that its client leaves open where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _docker_answers()
        gc.collect()
    return answers


def running(backend: Backend) -> AbstractContextManager[Services]:
    """Have Kafka and PostgreSQL for the block."""
    start: dict[Backend, Callable[[], AbstractContextManager[Services]]] = {
        "given": _given,
        "docker": _containers,
        "embedded": _embedded,
    }
    return start[backend]()


@contextmanager
def _given() -> Iterator[Services]:
    kafka, database = (os.environ[f"PAGESTREAM_TEST_{name}"] for name in ("KAFKA", "DATABASE"))
    yield Services(kafka, database, "given")


@contextmanager
def _embedded() -> Iterator[Services]:
    with state_directory() as state:
        servers = (quick_postgres(state / "postgres"), quick_kafka(state / "kafka"))
        database, kafka = Stack(state, servers).start()
        try:
            yield Services(kafka, database, "embedded")
        finally:
            kill_all(*servers)


@contextmanager
def state_directory() -> Iterator[Path]:
    """Have a directory for servers' data; unlike `tmp_path`, another user may enter it.

    Root runs PostgreSQL as nobody where user namespaces are forbidden. In memory where there is
    enough of it: each test has hundreds of partitions, and a disk takes a second to delete them.
    """
    with tempfile.TemporaryDirectory(prefix="pagestream-test-", dir=_memory()) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@contextmanager
def _containers() -> Iterator[Services]:
    # The containers' own Kafka module knows only another vendor's images.
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - as docker
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - likewise
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415

    with PostgresContainer(POSTGRES_IMAGE, driver=None) as postgres:
        host, port = postgres.get_container_host_ip(), free_port()
        started = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(
            _START_SECONDS
        )
        kafka = DockerContainer(KAFKA_IMAGE).with_bind_ports(9092, port).waiting_for(started)
        # What the broker tells clients to connect to must be known before it starts.
        for name, value in _container_settings(f"{host}:{port}").items():
            kafka.with_env(f"KAFKA_{name.upper().replace('.', '_')}", value)
        with kafka:
            yield Services(f"{host}:{port}", postgres.get_connection_url(), "docker")


def _container_settings(advertised: str) -> dict[str, str]:
    """Return the whole configuration: with one variable given, the image drops its own."""
    return {
        "node.id": "1",
        "process.roles": "broker,controller",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://{advertised}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": "1@localhost:9093",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "auto.create.topics.enable": "false",
    }


def quick_kafka(state: Path) -> EmbeddedKafka:
    """Return an embedded broker that starts fast and forgets deleted topics at once."""
    return EmbeddedKafka(
        state,
        heap="384m",
        repository=os.environ.get("PAGESTREAM_MAVEN_URL"),
        settings={"log.segment.delete.delay.ms": "1000"},
    )


def quick_postgres(state: Path) -> EmbeddedPostgres:
    """Return an embedded PostgreSQL that does not wait for the disk."""
    return EmbeddedPostgres(state, settings=FORGETFUL)


def kill_all(*servers: EmbeddedServer) -> None:
    """End servers whose data nobody wants."""
    for server in servers:
        server.kill()


def _memory() -> Path | None:
    spacious = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES
    return _MEMORY if spacious and os.access(_MEMORY, os.W_OK) else None
