"""Bringing a database's schema up to this program's, over a connection of our own."""

from pathlib import Path
from typing import Final

import msgspec
import psycopg
from alembic import command
from alembic.config import Config
from psycopg.errors import Diagnostic
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

import migrations
from runtime.database.connections import connect_at_start
from runtime.database.fates import fate
from runtime.database.schema import schema_revision
from runtime.errors import ConfigurationError, DatabaseUnavailable, Unavailable
from runtime.settings import Settings

_OLDEST_SERVER: Final = 150000
# A change of a large table takes its time, and a second migration waits for the first.
_SESSION: Final = {
    "statement_timeout": "0",
    "lock_timeout": "120s",
    "client_min_messages": "notice",
}


class Migration(msgspec.Struct, frozen=True):
    """What a migration did: the revision before (None: none) and after, and what it had to say."""

    before: str | None
    after: str | None
    notices: tuple[str, ...]


def migrate(settings: Settings) -> Migration:
    """Apply every missing migration, all in one transaction; safe to run several at once.

    Raises Unavailable when the server does not answer, ConfigurationError when it refuses.
    """
    notices: list[str] = []
    with connect_at_start(settings, "migrate", _SESSION) as connection:
        _check_server(connection)
        before = schema_revision(connection)
        if before is not None and before not in migrations.REVISIONS:
            raise ConfigurationError(
                f"the schema is {before}, newer than this program ({migrations.REVISIONS[-1]})",
                remedy="install the version of pagestream that made it, or a newer one",
            )

        def note(diagnostic: Diagnostic) -> None:
            # PostgreSQL's own remarks (already exists, skipping) carry a code.
            if diagnostic.sqlstate == "00000" and diagnostic.message_primary:
                notices.append(diagnostic.message_primary)

        connection.add_notice_handler(note)
        try:
            _upgrade(connection)
        except DBAPIError as error:
            if not isinstance(error.orig, psycopg.Error):
                raise
            reason = fate(error.orig)
            if isinstance(reason, DatabaseUnavailable):
                raise Unavailable(
                    f"the migration was broken off and undone: {reason}", remedy="run it again"
                ) from error
            raise reason from error
        return Migration(before, schema_revision(connection), tuple(notices))


def _check_server(connection: psycopg.Connection) -> None:
    if connection.info.server_version < _OLDEST_SERVER:
        raise ConfigurationError(
            f"PostgreSQL {connection.info.server_version // 10000} is too old",
            remedy="use PostgreSQL 15 or newer",
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"database {connection.info.dbname} stores text as {encoding}, not every text",
            remedy="create it with ENCODING 'UTF8' TEMPLATE template0",
        )


def _upgrade(connection: psycopg.Connection) -> None:
    # SQLAlchemy is only the vehicle that Alembic rides in; the connection stays ours.
    connection.autocommit = False
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool
    )
    folder = str(Path(migrations.__file__).parent)
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        with engine.connect() as vehicle:
            config.attributes["connection"] = vehicle
            command.upgrade(config, "head")
    finally:
        connection.rollback()
        connection.autocommit = True
