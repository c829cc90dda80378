"""A walker whose source answers at once: `python -m bench.instant_walker PAGES FOLDER ROWS`.

Each response is a body such as Datasette sends, ready in memory; what follows, from decoding it to
the commit, is the walker's own work.
"""

import sys
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
        self._listing = [
            _body([{"id": identity(number)} for number in part], token)
            for part, token in zip(numbers, following, strict=True)
        ]

    def get(self, site: str, path: str, query: Mapping[str, str]) -> Received:  # noqa: ARG002 - its
        """Return the body that this cursor asks for."""
        bodies = self._listing if "_col" in query else self._pages
        return bodies[int(query.get("_next", 0))]


def _body(rows: list[dict[str, object]], token: str | None) -> Received:
    body = msgspec.json.encode({"ok": True, "rows": rows, "truncated": False, "next": token})
    return Received(200, "application/json; charset=utf-8", body)


def main() -> None:
    """Walk until SIGTERM."""
    pages, folder, at_once = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    settings = load()
    logs.configure(settings)
    stop, metrics = StopSignal(), Metrics()
    stop.install()
    source = DatasetteSource(
        settings, metrics, stop, InstantSource(settings, pages, folder, at_once)
    )
    role.run(settings, source.fetch, stop, metrics, Readiness())


if __name__ == "__main__":
    main()
