"""Hundreds of Datasettes in one process: an ASGI application that chooses one by Host.

    python many_sites.py PORT ROWS

runs in the environment of an embedded Datasette, and imports nothing of ours. A site is made when
it is first asked for: its database is in memory, and its rows follow from its name (`rows_of`), so
that whoever knows the name knows what there is to copy.

`http://127.0.0.1:PORT/hang?sites=a,b` has these sites answer nothing until another list is given,
and `/asked` gives the time, in monotonic seconds, the site and the table of each request so far.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_COLUMNS: Final = (
    "id TEXT PRIMARY KEY, meeting TEXT, date TEXT, page INTEGER, text TEXT, page_image TEXT, "
    "entities_json TEXT, votes_json TEXT"
)
_ROW: Final = "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def rows_of(site: str, table: str, count: int) -> list[tuple[str, str, str, int, str]]:
    """Return the id, meeting, date, page and text of each row of a site's table."""
    names = (f"{site}/{table}/{number}" for number in range(count))
    return [
        (hashlib.sha256(name.encode()).hexdigest()[:12], "Council", "2026-01-05", page, name)
        for page, name in enumerate(names, 1)
    ]


class Sites:
    """The application."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._sites: dict[str, Any] = {}
        self._hanging: set[str] = set()
        self._changed = asyncio.Event()
        self._asked: list[tuple[float, str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = dict(scope["headers"])[b"host"].decode()
        site, found, _ = host.partition(".localhost")
        if not found:
            await self._steer(scope, send)
            return
        self._asked.append((time.monotonic(), site, scope["path"]))
        while site in self._hanging:
            await self._changed.wait()
        if site not in self._sites:
            self._sites[site] = await self._make(site)
        await self._sites[site](scope, receive, send)

    async def _steer(self, scope: Scope, send: Send) -> None:
        if scope["path"] == "/hang":
            named = parse_qs(scope["query_string"].decode()).get("sites", [""])[0]
            self._hanging = set(filter(None, named.split(",")))
            self._changed.set()
            self._changed = asyncio.Event()
        body = json.dumps(self._asked if scope["path"] == "/asked" else sorted(self._hanging))
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body.encode()})

    async def _make(self, site: str) -> Any:
        from datasette.app import Datasette  # noqa: PLC0415 - only its own environment has it
        from datasette.database import Database  # noqa: PLC0415 - likewise

        # No thread of its own for each of hundreds of sites.
        datasette = Datasette([], settings={"num_sql_threads": 0})
        database = datasette.add_database(Database(datasette, memory_name=site), "meetings")
        for table in ("agendas", "minutes"):
            rows = [(*row, None, None, None) for row in rows_of(site, table, self._rows)]
            await database.execute_write(f"CREATE TABLE {table} ({_COLUMNS})", block=True)
            await database.execute_write_many(f"INSERT INTO {table} {_ROW}", rows, block=True)
        await datasette.invoke_startup()
        return datasette.app()


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(Sites(int(sys.argv[2])), port=int(sys.argv[1]), log_level="info", access_log=False)
