"""A walker's process with an instant source, for tests that kill it: `walker_process.py PAGES`.

The source answers from memory what a Datasette of so many pages would: what is tried here is the
walker's protocol, not the source. Everything else is read from the environment, as always.
"""

import sys
from datetime import UTC, datetime

from producer.responses import Fetched, ListingResponse, PagesResponse
from producer.role import run
from runtime.errors import PagestreamError, Stop, Unavailable
from runtime.health import Readiness
from runtime.lifecycle import StopSignal
from runtime.logs import configure
from runtime.metrics import Metrics
from runtime.settings import load
from schemas.commands import TakeStep
from schemas.hashing import HASH_VERSION, row_hash
from schemas.records import Page


def instant_source(pages: int, step: TakeStep) -> Fetched:
    begin = int(step.position.cursor or 0)
    end = min(begin + step.rows, pages)
    ids = [f"{number:012x}" for number in range(begin, end)]
    following = str(end) if end < pages else None
    now = datetime.now(UTC)
    if step.position.phase == "listing":
        return ListingResponse(ids=tuple(ids), next=following, requested_at=now, seconds=0.0)
    return PagesResponse(
        pages=tuple(_page(step, identity) for identity in ids),
        rejected=(),
        next=following,
        last_id=ids[-1],
        requested_at=now,
        seconds=0.0,
    )


def _page(step: TakeStep, identity: str) -> Page:
    return Page(
        site=step.site,
        kind=step.kind,
        id=identity,
        page=1,
        text=f"page {identity}",
        row_hash=row_hash((identity, None, None, "1", f"page {identity}", None, None, None)),
        hash_version=HASH_VERSION,
        walk=step.walk,
        step=step.step,
    )


def main() -> int:
    pages = int(sys.argv[1])
    stop = StopSignal()
    stop.install()
    settings = load()
    configure(settings)
    try:
        run(settings, lambda step: instant_source(pages, step), stop, Metrics(), Readiness())
    except PagestreamError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code if isinstance(error, Stop) else Unavailable.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
