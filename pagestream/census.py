"""Asking sites how many pages their tables have: one cheap question a table, by SQL."""

from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from pagestream.planning import UNKNOWN, Pace, Size
from producer.datasette.answers import usable_body
from producer.datasette.queries import SQL_PATHS, TABLES
from producer.pacing import limiter, requests_per_minute
from runtime.errors import SourceError
from runtime.http import HttpClient
from runtime.lifecycle import StopSignal
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.tables import Table

_CAPPED_ROWS: Final = 100
_CAPPING_DOMAIN: Final = ".civic.band"
"""The public front end gives so many rows at most to whoever has no secret, and does not say so."""


_FOR_BOTH_PATHS: Final = frozenset({"rate_limited", "no_such_site"})
"""Answers that the site's other address would give too."""


class _Row(msgspec.Struct):
    pages: int


class _Rows(msgspec.Struct):
    rows: tuple[_Row]


_rows: Final = msgspec.json.Decoder(_Rows)


def pace_of(settings: Settings) -> Pace:
    """Return how a walker with these settings asks sites."""
    http = HttpClient(settings)
    host = urlsplit(settings.source_url.replace("{subdomain}", "site")).hostname or ""
    capped = host.endswith(_CAPPING_DOMAIN) and not http.sends_secret
    pace = Pace(
        per_minute=requests_per_minute(settings, http),
        limits_all=settings.requests_per_minute is not None,
        rows=settings.rows_per_response,
        capped_rows=_CAPPED_ROWS if capped else None,
    )
    http.close()
    return pace


class Census:
    """Asks sites, within the limit in force. A context manager, which closes the connections.

    Datasette takes SQL at one of two addresses, by its version: the one that answered last is asked
    first. So a question is one request, and two where the version is another than expected.
    """

    def __init__(self, settings: Settings) -> None:
        self._http = HttpClient(settings)
        self._limiter = limiter(settings, self._http, Metrics(), StopSignal())
        self._paths = list(SQL_PATHS)
        self._refused: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._http.close()

    def count(self, table: Table, secret: str | None) -> Size:
        """Return how many pages a table has; unknown, with the reason, where the site won't say.

        `secret` names the site's own secret. After one "too many requests" no site is asked any
        more.
        """
        if self._refused is not None:
            return Size(None, "unknown", self._refused)
        try:
            return self._ask(table, secret)
        except SourceError as error:
            if error.reason == "rate_limited":
                self._refused = str(error)
            return Size(None, "unknown", str(error))

    def _ask(self, table: Table, secret: str | None) -> Size:
        name = TABLES[table.kind]
        query = {"sql": f"select count(*) as pages from {name}", "_shape": "objects"}  # noqa: S608 - the names are our own
        found = UNKNOWN
        for path in tuple(self._paths):
            self._limiter.wait(secret=secret)
            received = self._http.get(table.site, path, query, secret)
            try:
                body = usable_body(received)
            except SourceError as error:
                if error.reason in _FOR_BOTH_PATHS:
                    raise
                if f"no such table: {name}".encode() in received.body:
                    return Size(0, "source", "the site has no such table")
                found = Size(None, "unknown", str(error))
                continue
            self._paths.remove(path)
            self._paths.insert(0, path)
            return _counted(body)
        return found


def _counted(body: bytes) -> Size:
    try:
        return Size(_rows.decode(body).rows[0].pages, "source")
    except msgspec.MsgspecError as error:
        return Size(None, "unknown", f"the site answered with something else: {error}")
