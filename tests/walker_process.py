"""A walker's process with a source in memory, for tests that kill it: `walker_process.py PAGES`.

The source answers what a Datasette of so many pages would: what is tried here is the walker's
protocol, not the source. What else a test wants of it stands in the folder that
PAGESTREAM_TEST_SOURCE names, see `fix_walker.Source`. Everything else is read from the environment,
as always.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from producer.decide import FetchedCommand
from producer.responses import Fetched, ListingResponse, PagesResponse, RepairResponse
from producer.role import run
from runtime.errors import PagestreamError, SourceError, Stop, Unavailable
from runtime.health import Readiness
from runtime.lifecycle import StopSignal
from runtime.logs import configure
from runtime.metrics import Metrics
from runtime.settings import load
from schemas.commands import PrunePages, RefetchPages, TakeStep
from schemas.hashing import HASH_VERSION, row_hash
from schemas.records import Page

LOOK_SECONDS = 0.02


def instant_source(pages: int, command: FetchedCommand) -> Fetched:
    if isinstance(command, TakeStep):
        return _step(pages, command)
    return _repair(pages, command)


def _step(pages: int, step: TakeStep) -> Fetched:
    begin = int(step.position.cursor or 0)
    end = min(begin + step.rows, pages)
    ids = [f"{number:012x}" for number in range(begin, end)]
    following = str(end) if end < pages else None
    now = datetime.now(UTC)
    if step.position.phase == "listing":
        return ListingResponse(
            ids=tuple(ids),
            after=step.position.after,
            listed_by="paging",
            next=following,
            last=following is None,
            requested_at=now,
            seconds=0.0,
        )
    return PagesResponse(
        pages=tuple(_page(step, identity, step.step) for identity in ids),
        rejected=(),
        next=following,
        last_id=ids[-1],
        requested_at=now,
        seconds=0.0,
    )


def _repair(pages: int, repair: RefetchPages | PrunePages) -> Fetched:
    present = [identity for identity in repair.ids if int(identity, 16) < pages]
    return RepairResponse(
        pages=tuple(_page(repair, identity, 0) for identity in present),
        rejected=(),
        absent=tuple(identity for identity in repair.ids if identity not in present),
        requested_at=datetime.now(UTC),
        seconds=0.0,
    )


def _page(command: FetchedCommand, identity: str, step: int) -> Page:
    return Page(
        site=command.site,
        kind=command.kind,
        id=identity,
        page=1,
        text=f"page {identity}",
        row_hash=row_hash((identity, None, None, "1", f"page {identity}", None, None, None)),
        hash_version=HASH_VERSION,
        walk=command.walk,
        step=step,
    )


class SteeredSource:
    """Answers at once, but for what its folder says."""

    def __init__(self, pages: int, folder: Path) -> None:
        self._pages = pages
        self._folder = folder

    def download(
        self, command: FetchedCommand, _wanted: Callable[[], bool]
    ) -> Callable[[], Fetched]:
        self._note(command)
        while (self._folder / f"hang.{command.site}").exists():
            time.sleep(LOOK_SECONDS)
        if (self._folder / f"fail.{command.site}").exists():
            raise SourceError("server_error", "it failed, as it was told to")
        response = instant_source(self._pages, command)
        return lambda: self._decoded(command, response)

    def _note(self, command: FetchedCommand) -> None:
        step = command.step if isinstance(command, TakeStep) else command.command_id
        line = f"{command.table.key} {command.walk} {step} {command.attempt}\n"
        with (self._folder / "asked").open("a") as file:
            file.write(line)

    def _decoded(self, command: FetchedCommand, response: Fetched) -> Fetched:
        deadly = self._folder / f"deadly.{command.site}"
        steps = deadly.read_text().split() if deadly.exists() else []
        if isinstance(command, TakeStep) and str(command.step) in steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    def clock(self) -> datetime:
        """Tell the time of day, as far off as the folder says."""
        off = self._folder / "clock"
        seconds = float(off.read_text()) if off.exists() else 0.0
        return datetime.now(UTC) + timedelta(seconds=seconds)


def main() -> int:
    source = SteeredSource(int(sys.argv[1]), Path(os.environ["PAGESTREAM_TEST_SOURCE"]))
    stop = StopSignal()
    stop.install()
    settings = load()
    configure(settings)
    try:
        run(settings, source.download, stop, Metrics(), Readiness(), source.clock)
    except PagestreamError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code if isinstance(error, Stop) else Unavailable.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
