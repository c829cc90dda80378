"""How a migration runs its SQL files: once, in every generation, or for the views.

A generation is one whole copy in a schema of its own, `pagestream_<number>`. Names of its tables
are never qualified: whoever uses them says by the search path which generation is meant. So one
file makes the tables of any generation, and one file points the views at any generation.
"""

from pathlib import Path
from typing import Final

from alembic import op
from sqlalchemy import Connection

_VERSIONS: Final = Path(__file__).with_name("versions")

_GENERATIONS: Final = r"""
    SELECT nspname FROM pg_namespace WHERE nspname ~ '^pagestream_\d+$' ORDER BY nspname
"""


def read(name: str) -> str:
    """Return the SQL of one of the files beside the migrations."""
    return (_VERSIONS / name).read_text(encoding="utf-8")


def run_once(name: str) -> None:
    """Run a file that names the schema of everything it touches."""
    _run(op.get_bind(), read(name))


def run_in_every_generation(name: str) -> None:
    """Run a file in each generation, including one that is being built beside the current one."""
    connection = op.get_bind()
    for (generation,) in connection.exec_driver_sql(_GENERATIONS).all():
        run_in_generation(connection, generation, read(name))


def run_in_generation(connection: Connection, generation: str, sql: str) -> None:
    """Run SQL with the unqualified names meaning those of one generation."""
    _run(connection, f"SET LOCAL search_path TO {generation}")
    _run(connection, sql)
    _run(connection, "SET LOCAL search_path TO DEFAULT")


def _run(connection: Connection, sql: str) -> None:
    # Without this the driver would take each % in the SQL for a parameter.
    connection.execution_options(no_parameters=True).exec_driver_sql(sql)
