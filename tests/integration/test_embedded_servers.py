"""The embedded servers as processes: what survives an end, and what must not."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from fix_source import build_database, make_page
from servers import quick_kafka, quick_postgres, state_directory

from pagestream.embedded import postgres
from pagestream.embedded.kafka import EmbeddedKafka
from pagestream.embedded.launch import nobody
from pagestream.embedded.postgres import EmbeddedPostgres
from pagestream.embedded.processes import command_line
from pagestream.embedded.stack import Stack
from runtime.errors import ConfigurationError, OwnedElsewhere, Unavailable

SECONDS = 60.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def create_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(SECONDS)


def produce(bootstrap: str, topic: str, value: bytes) -> None:
    """Write one record in a transaction: that needs every part of a broker."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "test"})
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    producer.produce(topic, value)
    producer.commit_transaction(SECONDS)


def read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    records = consumer.consume(count, SECONDS)
    consumer.close()
    return [record.value() for record in records]


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        result = connection.execute(statement)
        return result.fetchall() if result.description else []


def test_a_broker_keeps_its_records_and_its_port_where_it_can(private_kafka: EmbeddedKafka) -> None:
    bootstrap = private_kafka.start()
    create_topic(bootstrap, "kept")
    produce(bootstrap, "kept", b"first")
    private_kafka.stop()
    assert private_kafka.start() == bootstrap
    produce(bootstrap, "kept", b"after an end")
    private_kafka.kill()
    (private_kafka.state / "port").unlink()
    moved = private_kafka.start()
    assert moved != bootstrap
    produce(moved, "kept", b"after a crash")
    assert read(moved, "kept", 3) == [b"first", b"after an end", b"after a crash"]


@pytest.mark.parametrize("end", [EmbeddedPostgres.stop, EmbeddedPostgres.kill])
def test_a_database_keeps_its_rows_and_url(
    private_postgres: EmbeddedPostgres, end: Callable[[EmbeddedPostgres], None]
) -> None:
    url = private_postgres.start()
    execute(url, "CREATE TABLE kept AS SELECT 1 AS number")
    end(private_postgres)
    assert private_postgres.start() == url
    assert execute(url, "SELECT * FROM kept") == [(1,)]


def test_a_database_wants_its_password(private_postgres: EmbeddedPostgres) -> None:
    url = private_postgres.start()
    user, _, place = url.partition("@")
    assert execute(url, "SELECT current_database()::text") == [("pagestream",)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        execute(f"{user}x@{place}", "SELECT 1")


def test_a_lock_file_that_names_another_living_process_does_not_stop_a_start(
    private_postgres: EmbeddedPostgres,
) -> None:
    private_postgres.start()
    private_postgres.kill()
    lock_file = private_postgres.state / "data" / "postmaster.pid"
    _, *rest = lock_file.read_text().split("\n")
    lock_file.write_text("\n".join([str(os.getppid()), *rest]))
    assert execute(private_postgres.start(), "SELECT 1") == [(1,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root up")
def test_root_runs_postgresql_as_nobody_where_there_are_no_namespaces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "server_identity", lambda: "nobody")
    with state_directory() as state:
        server = quick_postgres(state / "postgres")
        try:
            assert execute(server.start(), "SELECT 1") == [(1,)]
            assert Path(f"/proc/{server.pid}").stat().st_uid == nobody()
        finally:
            server.kill()


@pytest.mark.parametrize(
    ("user", "possible", "identity"),
    [
        (1, {"namespace", "nobody"}, "self"),
        (0, {"namespace", "nobody"}, "namespace"),
        (0, {"nobody"}, "nobody"),
        (4_123_456, {"namespace", "nobody"}, "namespace"),
        (0, set(), "PostgreSQL refuses to run as root"),
        (4_123_456, {"nobody"}, "user 4123456, who has no name"),
    ],
)
def test_postgresql_runs_as_somebody_it_accepts(
    monkeypatch: pytest.MonkeyPatch, user: int, possible: set[str], identity: str
) -> None:
    def spawn(*_: object, identity: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["/bin/true" if identity in possible else "/bin/false"])

    monkeypatch.setattr(postgres, "spawn", spawn)
    monkeypatch.setattr(postgres.os, "geteuid", lambda: user)
    try:
        found: str = postgres.server_identity.__wrapped__()
    except Unavailable as refused:
        found = str(refused)
    assert identity in found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root up")
def test_a_place_that_nobody_may_enter_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres, "server_identity", lambda: "nobody")
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match=f"may not enter {tmp_path}"):
        quick_postgres(tmp_path / "postgres").start()


def test_an_interrupted_preparation_is_begun_anew(private_postgres: EmbeddedPostgres) -> None:
    unfinished = private_postgres.state / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    assert execute(private_postgres.start(), "SELECT 1") == [(1,)]


def test_two_stacks_run_side_by_side_under_any_name() -> None:
    with state_directory() as parent:
        one, other = parent / "one", parent / "an öther, with = and #"
        stacks = [
            Stack(state, [quick_postgres(state / "postgres"), quick_kafka(state / "kafka")])
            for state in (one, other)
        ]
        with stacks[0] as first, stacks[1] as second:
            addresses = [*first.addresses, *second.addresses]
            assert len(set(addresses)) == 4
            for url in addresses[::2]:
                execute(url, "CREATE TABLE mine (number integer)")
            for bootstrap in addresses[1::2]:
                create_topic(bootstrap, "mine")
            until((other / "kafka" / "data" / "mine-0").is_dir)


def test_a_state_directory_in_use_is_refused(private_postgres: EmbeddedPostgres) -> None:
    state = private_postgres.state
    with (
        Stack(state, [private_postgres]),
        pytest.raises(OwnedElsewhere, match=f"{state} is in use by process {os.getpid()}"),
    ):
        Stack(state, [quick_postgres(state)]).start()


def test_when_one_server_fails_the_others_are_ended() -> None:
    with state_directory() as state:
        database = quick_postgres(state / "postgres")
        broken = EmbeddedKafka(state / "kafka", settings={"log.dirs": "", "node.id": "-7"})
        with pytest.raises(Unavailable, match=r"Kafka could not be prepared.*format\.log"):
            Stack(state, [database, broken]).start()
        until(lambda: not running_on(state))


def test_a_server_outlives_the_thread_that_started_it(private_postgres: EmbeddedPostgres) -> None:
    urls: list[str] = []
    thread = threading.Thread(target=lambda: urls.append(private_postgres.start()))
    thread.start()
    thread.join()
    assert execute(urls[0], "SELECT 1") == [(1,)]


PARENT = """
    import signal, sys
    from pathlib import Path
    from servers import quick_kafka, quick_postgres
    from pagestream.embedded.datasette import EmbeddedDatasette
    from pagestream.embedded.stack import Stack

    state = Path(sys.argv[1])
    site = EmbeddedDatasette(state / "source", [state / "meetings.db"])
    servers = [quick_postgres(state / "postgres"), quick_kafka(state / "kafka"), site]
    with Stack(state, servers):
        print("ready", flush=True)
        signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_running_after_any_end_of_the_parent(number: signal.Signals) -> None:
    """SIGTERM and SIGHUP, which nothing handles here, end a process as SIGKILL does."""
    with state_directory() as state, start_parent(state) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert len(running_on(state)) >= 3
        parent.send_signal(number)
        parent.wait(SECONDS)
        until(lambda: not running_on(state))


@pytest.mark.parametrize("program", ["initdb", "StorageTool", "kafka.Kafka"])
def test_nothing_is_left_running_when_the_parent_is_killed_in_a_start(program: str) -> None:
    with state_directory() as state, start_parent(state) as parent:
        until(lambda: any(program in line for line in running_on(state)))
        parent.kill()
        parent.wait(SECONDS)
        until(lambda: not running_on(state))


def start_parent(state: Path) -> subprocess.Popen[bytes]:
    build_database(state / "meetings.db", minutes=[make_page("minutes", "M", "", 1, "x")])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parent.parent,
        start_new_session=True,
    )


def running_on(state: Path) -> list[str]:
    """Return the command lines of the processes that work on `state`, their parent left out.

    PostgreSQL's own children rename themselves, but they work in the data directory.
    """
    ids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    lines = [command_line(number) for number in ids if str(state) in traces_of(number)]
    return [line for line in lines if line and "signal.pause" not in line]


def traces_of(process_id: int) -> str:
    """Return what a process shows of where it works: its command line and its directory."""
    try:
        return command_line(process_id) + str(Path(f"/proc/{process_id}/cwd").readlink())
    except OSError:  # gone, or another user's
        return command_line(process_id)
