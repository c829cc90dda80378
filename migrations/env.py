"""Alembic's environment: runs the missing migrations over the connection that it is handed.

Alembic runs this file; only `runtime.database.migrating` starts it.

1. One transaction holds everything: a migration that fails leaves nothing behind.
2. An advisory lock comes first, so that of several migrations at once the later ones wait, and
   then find nothing left to do.
3. Only then is the database's revision read.
"""

from typing import Final

from alembic import context

from migrations import LOG_SCHEMA, VERSION_TABLE

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('pagestream migrate', 0))"


def run() -> None:
    """Bring the database to the revision that Alembic's command named."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        version_table=VERSION_TABLE.removeprefix(f"{LOG_SCHEMA}."),
        version_table_schema=LOG_SCHEMA,
    )
    with context.begin_transaction():
        connection.exec_driver_sql(_LOCK)
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {LOG_SCHEMA}")
        context.run_migrations()


run()
