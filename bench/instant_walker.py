"""A walker whose source answers at once: `python -m bench.instant_walker PAGES FOLDER ROWS`.

Each response is a body such as Datasette sends, ready in memory; what follows, from decoding it to
the commit, is the walker's own work.
"""

import sys
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.content import identity, real_rows
from bench.source import source_row
from producer import role
from producer.datasette.client import DatasetteSource
from runtime import logs
from runtime.health import Readiness
from runtime.http import HttpClient, Received
from runtime.lifecycle import StopSignal
from runtime.memory import share_one_arena
from runtime.metrics import Metrics
from runtime.settings import Settings, load


class InstantSource(HttpClient):
    """Answers every site with the same bodies, prepared beforehand."""

    def __init__(self, settings: Settings, pages: int, folder: Path, at_once: int) -> None:
        super().__init__(settings)
        rows = real_rows(folder)
        firsts = range(0, pages, at_once)
        numbers = [range(first, min(first + at_once, pages)) for first in firsts]
        following = [str(number + 1) for number in range(len(numbers) - 1)] + [None]
        self._pages = [
            _body([source_row(rows, number) for number in part], token)
            for part, token in zip(numbers, following, strict=True)
        ]
        self._ids = [identity(number) for number in range(pages)]

    def get(
        self,
        site: str,  # noqa: ARG002 - its
        path: str,  # noqa: ARG002 - its
        query: Mapping[str, str],
        secret: str | None = None,  # noqa: ARG002 - its
    ) -> Received:
        """Return the body that this cursor asks for, or the slice of the listing."""
        return self._listed(query) if "sql" in query else self._pages[int(query.get("_next", 0))]

    def _listed(self, query: Mapping[str, str]) -> Received:
        first = bisect_right(self._ids, query["after"])
        found = self._ids[first : first + int(query["slice"])]
        answer = {"ids": msgspec.json.encode(found).decode(), "remaining": len(self._ids) - first}
        return _body([answer], None)


def _body(rows: list[dict[str, object]], token: str | None) -> Received:
    body = msgspec.json.encode({"ok": True, "rows": rows, "truncated": False, "next": token})
    return Received(200, "application/json; charset=utf-8", body)


def main() -> None:
    """Walk until SIGTERM, as `pagestream run walker` does."""
    share_one_arena()
    pages, folder, at_once = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    settings = load()
    logs.configure(settings)
    stop, metrics = StopSignal(), Metrics()
    stop.install()
    source = DatasetteSource(
        settings, metrics, stop, InstantSource(settings, pages, folder, at_once)
    )
    role.run(settings, source.download, stop, metrics, Readiness())


if __name__ == "__main__":
    main()
