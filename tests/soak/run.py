"""One run: chaos, then healing, draining and the verdict."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg

from consumers.registry import CONSUMERS
from pagestream.walks import OVER
from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Partition
from schemas.tables import PARTITIONS
from soak.chaos import Chaos
from soak.plan import Plan
from soak.road import Road, SinkCommand
from soak.verdict import findings, unanswered

_DRAIN_SECONDS: Final = 150.0
_HOPELESS_SECONDS: Final = 60.0
_QUIET_POLL_SECONDS: Final = 0.3
_MOST_REPEATS: Final = 3
_TOPICS: Final = tuple(consumer.topic.name for consumer in CONSUMERS)

Said = Callable[[str], None]


@dataclass
class Result:
    """What a run came to: what is wrong, and what happened on the way.

    `spoilt` says why the run proves nothing: a server that we did not write stands still.
    """

    plan: Plan
    findings: list[str] = field(default_factory=list)
    spoilt: str = ""
    ends: Counter[int] = field(default_factory=Counter)
    last_words: list[str] = field(default_factory=list)
    failed_walks: int = 0
    pages: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        took = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in self.seconds.items())
        ends = ", ".join(f"{count} x {code}" for code, count in sorted(self.ends.items()))
        return (
            f"{len(self.plan.faults)} faults, {self.pages} pages published, processes ended "
            f"{ends or 'never'}, {self.failed_walks} walks failed and were asked for again; {took}"
        )


def run(
    plan: Plan,
    folder: Path,
    said: Said,
    sink_command: SinkCommand | None = None,
    drain_seconds: float = _DRAIN_SECONDS,
) -> Result:
    """Do what the plan says, and return what came of it; logs are kept in the folder.

    What has not come to its end `drain_seconds` after healing is a finding.
    """
    result = Result(plan)
    clock = _Clock(result)
    with Road(plan, folder, sink_command) as road:
        clock.lap("start")
        road.add_sites()
        Chaos(road, said).run()
        clock.lap("chaos")
        road.heal()
        clock.lap("heal")
        unfinished = _drain(road, result, drain_seconds)
        clock.lap("drain")
        if not unfinished:
            result.findings = findings(road)
        elif road.broker_lost_markers():
            result.spoilt = f"the broker never ended a transaction; {unfinished}"
        else:
            result.findings = [unfinished]
        clock.lap("verdict")
        for worker in road.workers.values():
            result.ends += worker.ended
            result.last_words += worker.last_words
        result.pages = _published(road)
    return result


class _Clock:
    def __init__(self, result: Result) -> None:
        self._result = result
        self._last = time.monotonic()

    def lap(self, what: str) -> None:
        now = time.monotonic()
        self._result.seconds[what] = now - self._last
        self._last = now


def _drain(road: Road, result: Result, patience: float) -> str:
    """Wait until nothing is left to do; return what never came to its end.

    Walks that failed are asked for again, a few times.
    """
    seconds = _HOPELESS_SECONDS if road.broker_lost_markers() else patience
    for _ in range(_MOST_REPEATS):
        deadline = time.monotonic() + seconds
        while left := _left(road):
            if time.monotonic() > deadline:
                return f"after {seconds:.0f} s in peace there was still {left}"
            pause = time.monotonic() + _QUIET_POLL_SECONDS
            while time.monotonic() < pause:
                road.tend()
                time.sleep(0.05)
        failed = road.failed_tables()
        if not failed:
            return ""
        result.failed_walks += len(failed)
        for table in failed:
            road.ask_for_walk(table)
    return f"walks failed again and again: {failed}"


def _left(road: Road) -> str:
    """Say what is left to do; nothing when all has come to its end.

    The order matters: once every command is answered, only walks that are under way go on; and
    what was applied up to the ends of that time tells which these are.
    """
    if going_on := _going_on(road):
        return going_on
    if commands := unanswered(road):
        return f"{len(commands)} commands without an answer"
    # A client of its own: one from before a broker's restart asks with a fenced epoch.
    places = [Partition(topic, number) for topic in _TOPICS for number in range(PARTITIONS)]
    ends = Cluster(road.rig.settings).ends(places)
    with psycopg.connect(road.database) as connection:
        query = "SELECT topic, partition, next_offset FROM pagestream_1.sink_position"
        positions = connection.execute(query).fetchall()
    reached = {Partition(topic, number): offset for topic, number, offset in positions}
    behind = {place: end for place, end in ends.items() if end and reached.get(place) != end}
    if behind:
        return f"records to apply: {behind}, applied up to {reached}"
    return _going_on(road)


def _going_on(road: Road) -> str:
    with psycopg.connect(road.database) as connection:
        query = "SELECT subdomain, kind, status, follow_up FROM pagestream.walk ORDER BY 1, 2"
        states = connection.execute(query).fetchall()
    going_on = [state for state in states if state[2] not in OVER or state[3] is not None]
    missing = len(road.plan.tables) - len(states)
    return f"{missing} tables to begin, walks going on: {going_on}" if missing or going_on else ""


def _published(road: Road) -> int:
    with psycopg.connect(road.database) as connection:
        query = "SELECT coalesce(sum(created + unchanged), 0) FROM pagestream.walk_figures"
        (count,) = connection.execute(query).fetchone() or (0,)
    return int(count)
