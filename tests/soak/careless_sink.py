"""A control arm: a sink that commits its position before its rows. It must be found out."""

import sys
from collections.abc import Mapping

import psycopg

from consumers.batches import Span
from consumers.sink import positions
from consumers.sink.positions import Origin
from migrations import GENERATION
from pagestream.cli.app import run
from runtime.database.connections import connect
from runtime.kafka.records import Partition
from runtime.settings import load

_move = positions.move


def move_first(
    _connection: psycopg.Connection, spans: Mapping[Partition, Span], origin: Origin
) -> None:
    with connect(load(), "careless", {"search_path": GENERATION}) as its_own:
        _move(its_own, dict(spans), origin)


if __name__ == "__main__":
    positions.move = move_first  # type: ignore[assignment]  # it takes any mapping
    sys.exit(run(["run", "sink"]))
