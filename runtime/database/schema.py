"""Whether the schema in the database is the one that this program was written for."""

from typing import Final

import psycopg

from migrations import REVISIONS, VERSION_TABLE
from runtime.database.fates import door
from runtime.errors import ConfigurationError

_REVISION: Final = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant of ours
_MIGRATE: Final = "run `pagestream migrate`"


def check_schema(connection: psycopg.Connection) -> None:
    """Raise ConfigurationError, with the remedy, unless the schema is exactly the current one."""
    name = connection.info.dbname
    found = schema_revision(connection)
    if found is None:
        raise ConfigurationError(f"database {name} has no pagestream schema", remedy=_MIGRATE)
    if found not in REVISIONS:
        raise ConfigurationError(
            f"the schema in database {name} is {found}, newer than this program ({REVISIONS[-1]})",
            remedy="install the version of pagestream that made it, or a newer one",
        )
    if found != REVISIONS[-1]:
        raise ConfigurationError(
            f"the schema in database {name} is {found}, too old for this program ({REVISIONS[-1]})",
            remedy=_MIGRATE,
        )


def schema_revision(connection: psycopg.Connection) -> str | None:
    """Return the revision that the database was migrated to, or None where it never was."""
    with door():
        present = connection.execute("SELECT to_regclass(%s)", (VERSION_TABLE,)).fetchone()
        if present is None or present[0] is None:
            return None
        row = connection.execute(_REVISION).fetchone()
    return None if row is None else str(row[0])
