"""Opening connections, each with deadlines: a cut network must never hang a process."""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from runtime.database.fates import door
from runtime.errors import ConfigurationError, DatabaseUnavailable, Unavailable
from runtime.logs import logger
from runtime.settings import Settings

Connection = psycopg.Connection
"""The type of what `connect` returns, for who may not know the library."""

# Seconds, and for the last one milliseconds, after which a silent peer counts as gone.
_NETWORK: Final[dict[str, str | int]] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}

_SESSION: Final = {
    "statement_timeout": "60s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
}


def connect(
    settings: Settings, role: str, session: Mapping[str, str] | None = None
) -> psycopg.Connection:
    """Return a new connection in autocommit mode, with all deadlines set.

    `role` names the process in pg_stat_activity. `session` holds further server settings, which
    also override the deadlines. What the connection string itself sets for the network wins.
    Raises DatabaseUnavailable, or ConfigurationError for a refusal.
    """
    parameters = {**_NETWORK, "application_name": f"pagestream {role}", **_parse(settings)}
    # Text is sent as UTF-8 bytes, whatever the environment or the role would have it.
    parameters["client_encoding"] = "UTF8"
    wanted = {**_SESSION, **(session or {})}
    with door():
        connection: psycopg.Connection = psycopg.Connection.connect(
            **parameters,  # type: ignore[arg-type]  # libpq's parameters beside psycopg's own
            autocommit=True,
        )
        try:
            connection.execute(
                "SELECT set_config(name, setting, false)"
                " FROM unnest(%s::text[], %s::text[]) AS wanted (name, setting)",
                (list(wanted), list(wanted.values())),
            )
        except BaseException:
            connection.close()
            raise
    return connection


def connect_at_start(
    settings: Settings, role: str, session: Mapping[str, str] | None = None
) -> psycopg.Connection:
    """Return a connection like `connect`, for a process that has not begun its work yet.

    Raises Unavailable instead of DatabaseUnavailable: there is nothing to wait with.
    """
    try:
        return connect(settings, role, session)
    except DatabaseUnavailable as error:
        raise Unavailable(
            f"PostgreSQL does not answer: {error}",
            remedy="start it, or set PAGESTREAM_DATABASE to where it is",
        ) from error


def _parse(settings: Settings) -> dict[str, str | int]:
    given = settings.database.get_secret_value()
    try:
        parsed = conninfo_to_dict(given)
    except psycopg.ProgrammingError:
        # The library's message repeats the string, and with it the password.
        raise ConfigurationError(
            "PAGESTREAM_DATABASE is not a connection string",
            remedy="give it as postgresql://user:password@host:port/database",
        ) from None
    if "://" in given and _is_cut_in_its_password(parsed):
        raise ConfigurationError(
            "PAGESTREAM_DATABASE holds a password with characters that must be escaped",
            remedy="write @ as %40, : as %3A, / as %2F, ? as %3F and % as %25 within it",
        )
    return {name: value for name, value in parsed.items() if value is not None}


def _is_cut_in_its_password(parsed: Mapping[str, str | int | None]) -> bool:
    """Tell whether a part of an address's password was taken for what follows it.

    Host, port and database are repeated in the error of a connection that fails.
    """
    host, port, database = (str(parsed.get(name) or "") for name in ("host", "port", "dbname"))
    return "@" in host + database or not re.fullmatch(r"[\d, -]*", port)


@contextmanager
def deadline(connection: psycopg.Connection, seconds: float) -> Iterator[None]:
    """Cut the connection when the block takes longer: it then fails as a lost one.

    The server's own deadlines do not help against a server that stands still while its kernel
    still acknowledges every packet.
    """
    timer = threading.Timer(seconds, _cut, (connection, seconds))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: psycopg.Connection, seconds: float) -> None:
    logger("database").warning("connection_cut", seconds=seconds)
    # It may have ended by itself in this very moment: then there is nothing left to cut.
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as peer,
    ):
        peer.shutdown(socket.SHUT_RDWR)
