"""SQL at the source: which of its two addresses a site answers, and which tables it refuses it."""

import threading
from collections.abc import Mapping
from typing import Final

from producer.datasette.asking import Answer, Asking
from producer.datasette.queries import SQL_PATHS
from runtime.errors import SourceError
from schemas.tables import Table

_TROUBLE: Final = frozenset({"server_error", "interrupted"})
"""Refusals that say nothing about whether a site takes SQL."""


class SqlAccess:
    """What is known of each site's SQL, in memory only; safe to use from many threads.

    A site is asked at the address that it answered last, and else at the other. A table for which
    it has refused SQL is not asked again in the same walk.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path: dict[str, str] = {}
        self._refused: dict[Table, int] = {}

    def ask(
        self, asking: Asking, table: Table, walk: int, query: Mapping[str, str]
    ) -> Answer | None:
        """Return the answer to a SQL query, None where the site takes none for this table.

        Raises as `Asking` does, and SourceError where the site is in trouble.
        """
        if self._is_refused(table, walk):
            return None
        known = self._path.get(table.site)
        trouble: SourceError | None = None
        for path in sorted(SQL_PATHS, key=lambda path: path != known):
            answer = asking.ask_for_judgement(path, query)
            if isinstance(answer, Answer):
                with self._lock:
                    self._path[table.site] = path
                return answer
            if answer.reason in _TROUBLE:
                if path == known or answer.reason == "interrupted":
                    raise answer
                trouble = answer
        if trouble is not None:
            raise trouble
        self.refuse(table, walk)
        return None

    def refuse(self, table: Table, walk: int) -> None:
        """Have no SQL asked for this table in the rest of this walk."""
        with self._lock:
            self._refused[table] = walk

    def _is_refused(self, table: Table, walk: int) -> bool:
        with self._lock:
            return self._refused.get(table) == walk
