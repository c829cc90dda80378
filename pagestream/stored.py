"""How much of each walk the sink has stored, asked from the database's views."""

from collections.abc import Mapping, Sequence
from typing import Final

from pagestream.backfilling import Stored
from runtime.database.connections import connect, connect_at_start
from runtime.database.fates import door
from runtime.database.schema import check_schema
from runtime.errors import DatabaseUnavailable
from runtime.settings import Settings
from schemas.tables import KINDS, Kind, Table

_ROLE: Final = "cli"

_QUERY: Final = """
    SELECT wanted.subdomain, wanted.kind, coalesce(f.created, 0), coalesce(f.updated, 0),
           coalesce(f.unchanged, 0), coalesce(f.deleted, 0), coalesce(f.dead_lettered, 0),
           coalesce(b.number, 0)
    FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS wanted (subdomain, kind, walk)
    LEFT JOIN pagestream.walk_figures AS f USING (subdomain, kind, walk)
    LEFT JOIN pagestream.walk_barrier AS b ON b.subdomain = wanted.subdomain
        AND b.kind = wanted.kind
"""


class StoredFigures:
    """Asks the database again and again; an outage of it is waited out.

    Raises Unavailable or ConfigurationError when the database cannot be used at the start.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = connect_at_start(settings, _ROLE)
        check_schema(self._connection)

    def read(self, walks: Sequence[tuple[Table, int]]) -> Mapping[Table, Stored] | None:
        """Return the figures of these walks, None when the database does not answer now."""
        try:
            if self._connection.closed:
                self._connection = connect(self._settings, _ROLE)
            return self._ask(walks)
        except DatabaseUnavailable:
            self._connection.close()
            return None

    def _ask(self, walks: Sequence[tuple[Table, int]]) -> dict[Table, Stored]:
        sites = [table.site for table, _ in walks]
        kinds = [table.kind for table, _ in walks]
        with door():
            rows = self._connection.execute(
                _QUERY, (sites, kinds, [number for _, number in walks])
            ).fetchall()
        return {Table(row[0], _kind(row[1])): Stored(*row[2:]) for row in rows}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _kind(word: str) -> Kind:
    return next(kind for kind in KINDS if kind == word)
