"""Walks under measurement: begun by commands, watched in the ledger."""

import time
from typing import Final

from pagestream.requests import addressed, ask, send, settled
from runtime.kafka.cluster import Cluster
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Partition, Record
from runtime.settings import Settings
from schemas.codec import decode
from schemas.commands import AddSite, StartWalk
from schemas.events import StepWalked, WalkEnded
from schemas.records import Municipality
from schemas.tables import Table
from schemas.topics import LEDGER

_DEADLINE: Final = 600.0


def add(settings: Settings, tables: list[Table]) -> None:
    """Have the tables' sites known; a walker must be at work."""
    requests = [
        AddSite(**addressed(table), municipality=Municipality(site=table.site)) for table in tables
    ]
    settled(requests, ask(settings, Cluster(settings), requests))


def start(settings: Settings, tables: list[Table], rows: int = 1000) -> None:
    """Ask for one walk of each table."""
    send(settings, [StartWalk(**addressed(table), rows=rows) for table in tables])


def pages_per_second(settings: Settings, tables: list[Table]) -> float:
    """Walk the tables once; return the pages published a second, while all of them were walked.

    Counted from the first step's commit to the last one's, as the log's own timestamps have them.
    """
    ledger = [Partition(LEDGER.name, table.partition) for table in tables]
    ends = Cluster(settings).ends(ledger)
    steps: list[tuple[int, int]] = []
    left = set(tables)
    deadline = time.monotonic() + _DEADLINE
    with LogReader(settings) as reader:
        reader.follow(ends)
        start(settings, tables)
        while left and time.monotonic() < deadline:
            record = reader.poll(0.2)
            if isinstance(record, Record):
                event = decode(record.type_header, record.value)
                if isinstance(event, StepWalked):
                    steps.append((record.timestamp, event.count))
                elif isinstance(event, WalkEnded):
                    left.discard(event.table)
    if left:
        raise TimeoutError(f"the walks of {left} should have ended")
    steps.sort()
    seconds = (steps[-1][0] - steps[0][0]) / 1000
    return sum(count for _, count in steps[1:]) / seconds
