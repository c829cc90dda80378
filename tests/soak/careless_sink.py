"""A control arm: a sink that commits its position before its rows. It must be found out.

A batch that is lost between the two need not be missed: newer states of the walks in it may follow,
and with the last one nobody would know that its walk is over. So it passes the crash point
`sink.moved` only with batches whose loss is one of pages: each holds some, and no walk's end.
"""

import sys
import threading
from collections.abc import Mapping

import psycopg

from consumers.batches import Batch, Span
from consumers.sink import applying, loop, positions
from consumers.sink.positions import Origin
from migrations import GENERATION
from pagestream.cli.app import run
from pagestream.walks import OVER
from runtime.crashpoints import crash_point
from runtime.database.connections import connect
from runtime.kafka.records import Partition
from runtime.settings import load
from schemas.records import Page
from schemas.walks import WalkState

_move = positions.move
_in_hand = threading.local()


class CarelessApplier(applying.Applier):
    """Remembers which batch each writer's thread has in hand."""

    def apply(self, connection: psycopg.Connection, batch: Batch) -> None:
        """Apply it as always."""
        _in_hand.batch = batch
        super().apply(connection, batch)


def move_first(
    _connection: psycopg.Connection, spans: Mapping[Partition, Span], origin: Origin
) -> None:
    with connect(load(), "careless", {"search_path": GENERATION}) as its_own:
        _move(its_own, dict(spans), origin)


def crash_where_pages_are_lost(point: str) -> None:
    if point != "sink.moved" or _holds_pages_and_no_end(_in_hand.batch):
        crash_point(point)


def _holds_pages_and_no_end(batch: Batch) -> bool:
    contents = [item.content for item in batch.items]
    ends = (isinstance(each, WalkState) and each.status in OVER for each in contents)
    return any(isinstance(each, Page) for each in contents) and not any(ends)


if __name__ == "__main__":
    positions.move = move_first  # type: ignore[assignment]  # it takes any mapping
    vars(applying)["crash_point"] = crash_where_pages_are_lost
    vars(loop)["Applier"] = CarelessApplier
    sys.exit(run(["run", "sink"]))
