"""A sink frozen between any two statements of its transaction, while another one takes over."""

import base64
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import msgspec
import pytest
from fix_process import Process, program, wait_until_frozen
from fix_sink import DirectSink
from samples import gone, now, page, sent

from consumers.sink import loop, outages, standstill
from consumers.sink.outages import Outage
from consumers.sink.persisting import Persistence
from runtime.health import Readiness
from runtime.kafka.records import Outgoing, Record
from runtime.lifecycle import StopSignal
from runtime.metrics import Metrics
from schemas.message import Message
from schemas.records import Municipality, SiteRemoved, WalkBarrier
from schemas.walks import WalkState

EXPECTED: Final = {
    "created": 4,
    "updated": 1,
    "unchanged": 1,
    "deleted": 1,
    "dead_lettered": 1,
    "removed": 1,
}
"""What becomes of the records of `second_batch`."""


class Applying:
    """Another process that applies to the same database."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def begin(self, records: list[Record], freeze_at: int = 0) -> None:
        """Have a batch applied, and the process frozen before one of its statements."""
        packed = base64.b64encode(msgspec.msgpack.encode(records)).decode()
        assert self.process.stdin is not None
        self.process.stdin.write(f"{freeze_at} {packed}\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Return how many statements it sent, and what came of the batch."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdout is not None
        passed, outcome = self.process.stdout.readline().split()
        return int(passed), outcome


@contextmanager
def applying(sink: DirectSink, *arguments: str) -> Iterator[Applying]:
    environment = {
        "PAGESTREAM_DATABASE": sink.settings.database.get_secret_value(),
        "PAGESTREAM_LOG_LEVEL": "error",  # nobody reads what it says while it works
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with program("applying_process.py", *arguments, environment=environment, **pipes) as process:
        yield Applying(process)


def first_batch(site: str) -> list[Message | Outgoing]:
    return [
        page("same", site, walk=1),
        page("changed", site, walk=1, meeting="Only its own", text="before"),
        page("gone", site, walk=1, meeting="Another of its own"),
        page("emptied", site, "agenda", walk=1),
    ]


def second_batch(site: str) -> list[Message | Outgoing]:
    """Return records whose transaction has every kind of statement."""
    return [
        Municipality(site=site, name="Town"),
        Municipality(site=f"new-{site}", name="New"),
        SiteRemoved(site=site, kind="agenda", walk=2, at=now()),
        page("back", site, "agenda", walk=2),
        page("same", site, walk=2),
        page("changed", site, walk=2, text="after"),
        gone("gone", site, walk=2),
        *(page(f"new-{number}", site, walk=2, meeting=f"m{number}") for number in range(3)),
        sent(page("bad", site, walk=-1)),
        WalkBarrier(site=site, kind="minutes", number=2, walk=2, at=now()),
        WalkState(site=site, kind="minutes", revision=2, walk=2, status="in_progress"),
        WalkState(site=site, kind="agenda", revision=3, walk=2, status="removed"),
    ]


def figures(sink: DirectSink, site: str) -> dict[str, int]:
    """Return the figures of the second batch."""
    found: dict[str, Any] = sink.one(
        "SELECT sum(created)::int AS created, sum(updated)::int AS updated,"
        " sum(unchanged)::int AS unchanged, sum(deleted)::int AS deleted,"
        " sum(dead_lettered)::int AS dead_lettered, sum(removed)::int AS removed"
        " FROM pagestream.walk_figures WHERE subdomain = %s AND walk <> 1",
        site,
    )
    return found


def stored(sink: DirectSink, site: str) -> list[tuple[str, str]]:
    rows = sink.rows(
        "SELECT kind, id, text FROM pagestream.meeting_page WHERE subdomain = %s ORDER BY 1, 2",
        site,
    )
    return [(row["kind"], row["id"]) for row in rows if row["text"] != "before"]


STORED: Final = [
    ("agenda", "back"),
    ("minutes", "changed"),
    *(("minutes", f"new-{number}") for number in range(3)),
    ("minutes", "same"),
]


@pytest.fixture
def successor(direct_sink: DirectSink, monkeypatch: pytest.MonkeyPatch) -> Iterator[Persistence]:
    """The writing half of a sink that takes over, and has little patience."""
    monkeypatch.setattr(outages, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(standstill, "_LONG", timedelta(seconds=0.2))
    monkeypatch.setitem(vars(loop)["_SESSION"], "lock_timeout", "400ms")
    outage = Outage("database", StopSignal(), Metrics(), Readiness())
    made = Persistence(
        lambda: loop.open_connection(direct_sink.settings), direct_sink.applier, outage
    )
    yield made
    made.close()


def test_frozen_before_any_statement_it_changes_nothing_when_it_wakes_up(
    direct_sink: DirectSink, successor: Persistence
) -> None:
    """Also in the middle of a COPY, where no deadline of the server runs."""
    with applying(direct_sink) as other:
        direct_sink.apply(*first_batch("undisturbed.ca"))
        other.begin(direct_sink.records(*second_batch("undisturbed.ca")))
        statements, outcome = other.end()
        assert outcome == "applied"
        assert figures(direct_sink, "undisturbed.ca") == EXPECTED
        assert statements > 15
        for number in range(1, statements + 1):
            site = f"frozen-{number}.ca"
            direct_sink.apply(*first_batch(site))
            records = direct_sink.records(*second_batch(site))
            other.begin(records, freeze_at=number)
            wait_until_frozen(other.process)
            assert successor.apply(direct_sink.batch(records))
            assert other.end()[1] == "PositionMoved", f"frozen before statement {number}"
            assert figures(direct_sink, site) == EXPECTED, f"frozen before statement {number}"
            assert stored(direct_sink, site) == STORED, f"frozen before statement {number}"


@pytest.mark.parametrize("number", [1, 4])
def test_without_the_compare_and_swap_it_would_count_twice(
    direct_sink: DirectSink, number: int
) -> None:
    with applying(direct_sink, "careless") as other:
        direct_sink.apply(*first_batch("doubled.ca"))
        records = direct_sink.records(*second_batch("doubled.ca"))
        other.begin(records, freeze_at=number)
        wait_until_frozen(other.process)
        direct_sink.applier.apply(direct_sink.connection, direct_sink.batch(records))
        assert other.end()[1] == "applied"
    assert figures(direct_sink, "doubled.ca") != EXPECTED
