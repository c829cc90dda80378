"""Connections to a real server: their deadlines, their refusals, and a peer that stands still."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from runtime.database.connections import connect, connect_at_start, deadline
from runtime.database.fates import door
from runtime.errors import ConfigurationError, DatabaseUnavailable, RecordError, Unavailable
from runtime.settings import Settings


class Tarpit:
    """A proxy before PostgreSQL that can stop passing anything on, and yet keeps acknowledging."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def freeze(self) -> None:
        self._flowing.clear()

    def close(self) -> None:
        self._flowing.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: object, *parameters: socket.socket) -> None:
        thread = threading.Thread(target=target, args=parameters)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self._start(self._pass_on, client, server)
                self._start(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def tarpit(database: str) -> Iterator[Tarpit]:
    parameters = conninfo_to_dict(database)
    with closing(Tarpit(str(parameters["host"]), int(str(parameters["port"])))) as proxy:
        yield proxy


def settings(database: str, **change: str | int) -> Settings:
    return Settings(database=SecretStr(make_conninfo(database, **change)))


def test_every_session_has_its_deadlines_and_its_name(database: str) -> None:
    wanted = {
        "statement_timeout": "1min",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "1min",
        "TimeZone": "UTC",
        "application_name": "pagestream sink-7",
        "enable_seqscan": "off",
    }

    with connect(settings(database), "sink-7", {"enable_seqscan": "off"}) as connection:
        assert connection.autocommit
        for name, value in wanted.items():
            shown = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            assert shown == (value,), name
        network = connection.info.get_parameters()

    for name, value in {
        "connect_timeout": "5",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": "15000",
    }.items():
        assert network[name] == value


def test_the_connection_string_may_set_the_network_itself(database: str) -> None:
    with connect(settings(database, tcp_user_timeout=1234), "test") as connection:
        assert connection.info.get_parameters()["tcp_user_timeout"] == "1234"


def test_a_string_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        connect(Settings(database=SecretStr("postgresql://me:sesame@[half")), "test")

    assert "PAGESTREAM_DATABASE" in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"dbname": "no_such_database"}, "create the database"),
        ({"user": "no_such_role"}, "user and password"),
        ({"sslmode": "require"}, "sslmode"),
    ],
)
def test_a_refusal_says_what_to_do(database: str, change: dict[str, str], remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        connect(settings(database, **change), "test")


def test_a_setting_that_the_server_refuses_leaves_no_connection_open(database: str) -> None:
    with pytest.raises(RecordError):
        connect(settings(database), "never-opened", {"statement_timeout": "soon"})

    with connect(settings(database), "test") as connection:
        left = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%never-opened'"
        ).fetchone()
    assert left == (0,)


def test_nobody_listening_is_waited_for_or_told_at_the_start(database: str) -> None:
    nowhere = settings(database, host="127.0.0.1", port=1)

    with pytest.raises(DatabaseUnavailable):
        connect(nowhere, "test")
    with pytest.raises(Unavailable, match="set PAGESTREAM_DATABASE"):
        connect_at_start(nowhere, "test")


def test_a_peer_that_stands_still_is_cut_off_at_the_deadline(database: str, tarpit: Tarpit) -> None:
    with closing(connect(settings(database, host="127.0.0.1", port=tarpit.port), "test")) as slow:
        tarpit.freeze()
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable), door(), deadline(slow, 0.5):
            slow.execute("SELECT 1")

    assert 0.5 <= time.monotonic() - began < 10


def test_a_copy_into_a_peer_that_stands_still_is_cut_off_too(database: str, tarpit: Tarpit) -> None:
    with closing(connect(settings(database, host="127.0.0.1", port=tarpit.port), "test")) as slow:
        slow.execute("CREATE TABLE lines (line text)")
        with pytest.raises(DatabaseUnavailable), door(), deadline(slow, 1):
            copy_for_ever(slow, tarpit)


def copy_for_ever(connection: psycopg.Connection, tarpit: Tarpit) -> None:
    with connection.cursor() as cursor, cursor.copy("COPY lines FROM STDIN") as copy:
        tarpit.freeze()
        while True:
            copy.write(b"x" * 99_999 + b"\n")


def test_a_deadline_that_is_met_leaves_the_connection_alone(database: str) -> None:
    with connect(settings(database), "test") as connection:
        with deadline(connection, 0.2):
            connection.execute("SELECT 1")
        assert connection.execute("SELECT pg_sleep(0.4)").fetchone() is not None


def test_a_lost_connection_is_waited_for(database: str) -> None:
    with connect(settings(database), "test") as mine, connect(settings(database), "test") as other:
        other.execute("SELECT pg_terminate_backend(%s)", (mine.info.backend_pid,))
        with pytest.raises(DatabaseUnavailable), door():
            mine.execute("SELECT 1")


def test_the_server_really_gives_the_codes_that_are_waited_for(database: str) -> None:
    with (
        connect(settings(database), "test", {"statement_timeout": "50ms"}) as hasty,
        pytest.raises(DatabaseUnavailable) as caught,
        door(),
    ):
        hasty.execute("SELECT pg_sleep(5)")

    assert isinstance(caught.value.__cause__, psycopg.errors.QueryCanceled)
