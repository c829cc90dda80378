"""How long it takes to be at work again: after a start, and after each kind of loss.

1. restore: a walker starts on the states of `RESTORED` sites in the log, until it owns them all.
2. takeover: a walker is killed and at once started again in its slot; from the kill to its next
   step in the ledger.
3. broker: Kafka is killed and started again, and the walker whenever it ends, as its supervisor
   would; from Kafka's being ready to the next step.
4. database: PostgreSQL is killed and started again while records wait for the sink; from its being
   ready to the next position that is committed.
"""

import time
from pathlib import Path
from typing import Final

import msgspec

from bench import walks
from bench.content import Row
from bench.roles import MeasuredRole, role
from bench.sink import applied, connected, publish
from bench.source import with_source
from bench.stand import Stand
from bench.walker import TABLES
from runtime.errors import PagestreamError
from runtime.kafka.cluster import Cluster
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Partition, Record
from runtime.settings import Settings
from schemas.tables import Table
from schemas.topics import LEDGER

RESTORED: Final = 1000
_TICK: Final = 0.02
_DEADLINE: Final = 120.0
# Small responses at the rate of a real site: the walks last longer than the measurement.
_ROWS: Final = 20
_PAGES: Final = 20_000
_PER_MINUTE: Final = 600.0
_RECORDS: Final = 600


class Recoveries(msgspec.Struct):
    """Seconds until work went on, one entry a time."""

    restore: list[float] = []
    takeover: list[float] = []
    broker: list[float] = []
    database: list[float] = []


def measure(stand: Stand, rows: list[Row], times: int) -> Recoveries:
    """Return the seconds of each kind of recovery, measured so many times."""
    found = Recoveries()
    _measure_restore(stand, found)
    _measure_walker(stand, times, found)
    _measure_database(stand, rows, times, found)
    return found


def _measure_restore(stand: Stand, found: Recoveries) -> None:
    with stand.corner("restore") as settings:
        with role("walker", settings):
            walks.add(settings, [Table(f"site-{n}.ca", "minutes") for n in range(RESTORED)])
        for _ in range(3):
            log = settings.state_directory / "walker.log"
            log.unlink()
            began = time.monotonic()
            with role("walker", settings):
                _wait_until_assigned(log)
                found.restore.append(time.monotonic() - began)


def _measure_walker(stand: Stand, times: int, found: Recoveries) -> None:
    command = ("-m", "bench.instant_walker", str(_PAGES), str(stand.folder / "city"), str(_ROWS))
    with stand.corner("recovery") as corner:
        settings = with_source(corner, "http://127.0.0.1:1").model_copy(
            update={"requests_per_minute": _PER_MINUTE}
        )
        with role("walker", settings, *command) as walker:
            walks.add(settings, TABLES)
            walks.start(settings, TABLES)
            for _ in range(times):
                _wait_for_step(settings, walker)
                walker.kill()
                found.takeover.append(_wait_for_step(settings, walker))
            for _ in range(times):
                _wait_for_step(settings, walker)
                stand.kafka.kill()
                stand.kafka.start()
                found.broker.append(_wait_for_step(settings, walker))


def _wait_for_step(settings: Settings, walker: MeasuredRole) -> float:
    """Return the seconds until a step of later than now is in the ledger; restarts the walker."""
    began, now = time.monotonic(), time.time() * 1000
    with LogReader(settings) as reader:
        reader.follow(_ledger_ends(settings))
        while time.monotonic() < began + _DEADLINE:
            walker.tend()
            record = reader.poll(_TICK)
            if isinstance(record, Record) and record.timestamp >= now:
                return time.monotonic() - began
    raise TimeoutError("the walker should have gone on")


def _ledger_ends(settings: Settings) -> dict[Partition, int]:
    """Return where the ledger of the walked tables ends; a broker that has just started settles."""
    ledger = [Partition(LEDGER.name, table.partition) for table in TABLES]
    deadline = time.monotonic() + _DEADLINE
    while True:
        try:
            return Cluster(settings).ends(ledger)
        except PagestreamError:
            if time.monotonic() > deadline:
                raise


def _measure_database(stand: Stand, rows: list[Row], times: int, found: Recoveries) -> None:
    with stand.corner("outage") as settings, role("sink", settings):
        for number in range(times):
            first = number * 2 * _RECORDS
            publish(settings, rows, range(first, first + _RECORDS))
            before = (first + _RECORDS) * len(TABLES)
            _wait_until_applied(settings, before)
            stand.postgres.kill()
            publish(settings, rows, range(first + _RECORDS, first + 2 * _RECORDS))
            stand.postgres.start()
            back = time.monotonic()
            _wait_until_applied(settings, before + 1)
            found.database.append(time.monotonic() - back)


def _wait_until_applied(settings: Settings, pages: int) -> None:
    deadline = time.monotonic() + _DEADLINE
    with connected(settings) as connection:
        while applied(connection) < pages:
            _check(deadline)


def _wait_until_assigned(log: Path) -> None:
    deadline = time.monotonic() + _DEADLINE
    while b"partitions_assigned" not in log.read_bytes():
        _check(deadline)


def _check(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError("work should have gone on")
    time.sleep(_TICK)
