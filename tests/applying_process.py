"""Applies batches, and freezes between two statements: `applying_process.py [careless]`.

It reads a line for each batch: the number of the statement before which to freeze, and its records.
It answers with a line: how many statements its last attempt had, and what came of it.
"""

import base64
import os
import signal
import sys
from typing import Any

import msgspec
import psycopg
from fix_sink import ORIGIN
from sink_process import move_blindly

from consumers.batches import Batch, BatchBuilder, Item, Rejected
from consumers.registry import CONSUMERS
from consumers.sink import applying, loop, outages, positions
from consumers.sink.applying import Applier
from consumers.sink.outages import Outage
from consumers.sink.persisting import Persistence
from runtime.errors import PagestreamError, RecordError
from runtime.health import Readiness
from runtime.kafka.records import Partition, Record
from runtime.lifecycle import StopSignal
from runtime.logs import configure
from runtime.metrics import Metrics
from runtime.settings import load

READ_OF = {consumer.topic.name: consumer.read for consumer in CONSUMERS}
SETTINGS = load()


class Countdown:
    """Stops this process, once, before one of the statements of an attempt at a batch.

    The server may end an attempt that gets no processor for long; the next one is counted anew, so
    that the number of a statement is the same in each.
    """

    def __init__(self) -> None:
        self.freeze_at = 0
        self.passed = 0

    def attempt(self) -> None:
        self.passed = 0

    def statement(self) -> None:
        self.passed += 1
        if self.passed == self.freeze_at:
            self.freeze_at = 0
            os.kill(os.getpid(), signal.SIGSTOP)


COUNTDOWN = Countdown()


class FreezingCursor(psycopg.Cursor[Any]):
    """A cursor that tells of every statement before it is sent."""

    def execute(self, *given: Any, **named: Any) -> "FreezingCursor":
        COUNTDOWN.statement()
        super().execute(*given, **named)
        return self

    def executemany(self, *given: Any, **named: Any) -> None:
        COUNTDOWN.statement()
        super().executemany(*given, **named)

    def copy(self, *given: Any, **named: Any) -> Any:
        COUNTDOWN.statement()
        return super().copy(*given, **named)


class FreezingCopy(psycopg.Copy):
    """A COPY that counts as a second statement, in its middle."""

    def write(self, data: Any) -> None:
        super().write(data)
        COUNTDOWN.statement()


def connection() -> psycopg.Connection:
    made = loop.open_connection(SETTINGS)
    if COUNTDOWN.freeze_at:
        made.execute("SET idle_in_transaction_session_timeout = '100ms'")
    made.cursor_factory = FreezingCursor
    COUNTDOWN.attempt()
    return made


def read_batch(records: list[Record]) -> Batch:
    builder = BatchBuilder(10**6, 10**9)
    places = {Partition(record.topic, record.partition) for record in records}
    with loop.open_connection(SETTINGS) as reading:
        builder.place(positions.read(reading, places, ORIGIN))
    for record in records:
        builder.add(Item(record, content(record)))
    return builder.take()


def content(record: Record) -> object:
    try:
        return READ_OF[record.topic](record)
    except RecordError as error:
        return Rejected(error)


def before_commit(point: str) -> None:
    if point == "sink.written":
        COUNTDOWN.statement()


def main() -> None:
    configure(SETTINGS)
    vars(applying)["crash_point"] = before_commit
    vars(outages)["_FIRST_WAIT"] = 0.01
    vars(psycopg.cursor)["Copy"] = FreezingCopy
    if sys.argv[1:] == ["careless"]:
        vars(positions)["move"] = move_blindly
    metrics = Metrics()
    applier = Applier(CONSUMERS, ORIGIN, metrics)
    for line in sys.stdin:
        number, packed = line.split()
        batch = read_batch(msgspec.msgpack.decode(base64.b64decode(packed), type=list[Record]))
        outage = Outage("database", StopSignal(), metrics, Readiness())
        persistence = Persistence(connection, applier, outage)
        COUNTDOWN.freeze_at = int(number)
        try:
            persistence.apply(batch)
            outcome = "applied"
        except PagestreamError as error:
            outcome = type(error).__name__
        persistence.close()
        sys.stdout.write(f"{COUNTDOWN.passed} {outcome}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
