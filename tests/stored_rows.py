"""Asking a test's own database what is stored in it."""

from typing import Any

from psycopg.rows import dict_row

from runtime.database.connections import connect
from runtime.settings import Settings


class Rows:
    """Asks one database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with connect(self._settings, "test") as connection:
            cursor = connection.cursor(row_factory=dict_row)
            return cursor.execute(query, parameters).fetchall()

    def one(self, query: str, *parameters: object) -> dict[str, Any]:
        """Return the only row of a query."""
        (row,) = self.rows(query, *parameters)
        return row

    def do(self, statement: str, *parameters: object) -> int:
        """Execute a statement; return the number of rows it touched."""
        with connect(self._settings, "test") as connection:
            return connection.execute(statement, parameters).rowcount

    def figures(self) -> dict[int, dict[str, int]]:
        """Return the figures that are not zero, by walk, over all tables."""
        found: dict[int, dict[str, int]] = {}
        for row in self.rows("SELECT * FROM pagestream.walk_figures"):
            total = found.setdefault(row["walk"], {})
            for name in ("created", "updated", "unchanged", "deleted", "dead_lettered", "removed"):
                if row[name]:
                    total[name] = total.get(name, 0) + row[name]
        return found

    def ids(self) -> list[str]:
        """Return the ids of all pages stored."""
        found = self.rows("SELECT id FROM pagestream.meeting_page ORDER BY id")
        return [row["id"] for row in found]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return the version of every row of the copy: it changes whenever a row is written."""
        return self.rows(
            """
            SELECT 'page' AS what, id, xmin::text, ctid::text FROM pagestream_1.meeting_page
            UNION ALL
            SELECT 'document', id::text, xmin::text, ctid::text FROM pagestream_1.meeting_document
            UNION ALL
            SELECT 'site', subdomain, xmin::text, ctid::text FROM pagestream_1.municipality
            ORDER BY 1, 2, 3, 4
            """
        )

    def contents(self) -> list[dict[str, Any]]:
        """Return every page of the copy, all of it."""
        return self.rows("SELECT * FROM pagestream.meeting_page ORDER BY subdomain, kind, id")
