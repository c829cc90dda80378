"""After the faults: what a person does until every table rests, and when a run has come to its end.

Everything that befell the run is over. What a command paused is resumed, what failed is tried
again, what waits for a verdict gets one, and no table is walked by schedule any more. From then on
each must come to rest by itself, walked in full or removed.
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import psycopg

from consumers.registry import CONSUMERS
from producer.walker import group_name
from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Partition
from schemas.commands import (
    ApproveVerdict,
    RecordVerdict,
    Request,
    ResumeWalk,
    RetryWalk,
    SetSchedule,
    StartWalk,
)
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS
from schemas.walks import Schedule, Status, WalkState
from soak.person import given
from soak.road import Road

DRAIN_SECONDS: Final = 150.0
_HOPELESS_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.3
_PATIENCE_SECONDS: Final = 30.0
_MOST_REMEDIES: Final = 15
_MOST_FAILURES: Final = 4
_TOPICS: Final = tuple(consumer.topic.name for consumer in CONSUMERS)
_REMEDIES: Final[dict[Status, type[Request]]] = {
    "paused": ResumeWalk,
    "failed": RetryWalk,
    "held": ApproveVerdict,
}
_STARTED: Final[frozenset[Status]] = frozenset({"pending", "cancelled"})
_ENDED: Final[frozenset[Status]] = frozenset({"completed", "unverified"})


class Drain:
    """Brings a healed road to its end; `remedies` counts what a person had to do, by command."""

    def __init__(self, road: Road) -> None:
        self.remedies: Counter[str] = Counter()
        self._road = road
        self._looked_at: dict[Table, int] = {}
        self._of: dict[Table, Counter[str]] = {table: Counter() for table in road.plan.tables}

    def run(self) -> str:
        """Return what never came to its end; nothing is a good one."""
        for table in self._road.plan.tables:
            self._road.person.ask(SetSchedule, table, schedule=Schedule())
        seconds = _HOPELESS_SECONDS if self._road.broker_lost_markers() else DRAIN_SECONDS
        deadline = time.monotonic() + seconds
        while left := "; ".join(self._hopeless()) or self._left():
            if time.monotonic() > deadline:
                return f"after {seconds:.0f} s in peace there was still {left}"
            self._wait()
            self._mend()
        return "; ".join(self._hopeless())

    def _wait(self) -> None:
        until = time.monotonic() + _LOOK_SECONDS
        while time.monotonic() < until:
            self._road.tend()
            time.sleep(0.05)

    def _mend(self) -> None:
        """Do what a person would, once for each state that needs it, when all asked for is done."""
        if self._road.person.unanswered:
            return
        for table, state in self._road.watch.states.items():
            if self._looked_at.get(table) == state.revision or self._is_hopeless(table):
                continue
            self._looked_at[table] = state.revision
            if (needed := remedy(state)) is not None:
                command, fields = needed
                self._road.person.ask(command, table, **fields, **self._rows(command))
                self.remedies[command.__name__] += 1
                self._of[table][command.__name__] += 1

    def _rows(self, command: type[Request]) -> dict[str, int]:
        return {"rows": self._road.plan.rows} if command is StartWalk else {}

    def _is_hopeless(self, table: Table) -> bool:
        of = self._of[table]
        return of["RetryWalk"] > _MOST_FAILURES or of.total() > _MOST_REMEDIES

    def _hopeless(self) -> Iterator[str]:
        for table, of in self._of.items():
            if self._is_hopeless(table):
                yield f"{table.key}, after {dict(of)}: {self._road.watch.states[table]}"

    def _left(self) -> str:
        """Say what is left to do; nothing when all has come to its end.

        The order matters: once every command is decided, only walks that are under way go on; and
        what was applied up to the ends of that time tells which these are.
        """
        if going_on := self._going_on():
            return going_on
        if commands := self._road.person.unanswered:
            return f"{len(commands)} commands without an answer"
        # A client of its own: one from before a broker's restart asks with a fenced epoch.
        cluster = Cluster(self._road.rig.settings)
        return self._undecided(cluster) or self._not_applied(cluster) or self._going_on()

    def _going_on(self) -> str:
        self._road.watch.update()
        states = self._road.watch.states
        missing = [table.key for table in self._road.plan.tables if table not in states]
        going_on = [state for state in states.values() if not is_at_rest(state)]
        return f"tables to begin: {missing}, going on: {going_on}" if missing or going_on else ""

    def _undecided(self, cluster: Cluster) -> str:
        newest: dict[Partition, int] = {}
        for record in self._road.rig.records(COMMANDS):
            newest[Partition(COMMANDS.name, record.partition)] = record.offset
        reached = cluster.committed(group_name(self._road.rig.settings), newest)
        behind = {p: offset for p, offset in newest.items() if (reached[p].offset or 0) <= offset}
        return f"commands to decide: {behind}" if behind else ""

    def _not_applied(self, cluster: Cluster) -> str:
        places = [Partition(topic, number) for topic in _TOPICS for number in range(PARTITIONS)]
        ends = cluster.ends(places)
        with psycopg.connect(self._road.database) as connection:
            query = "SELECT topic, partition, next_offset FROM pagestream_1.sink_position"
            positions = connection.execute(query).fetchall()
        reached = {Partition(topic, number): offset for topic, number, offset in positions}
        behind = {place: end for place, end in ends.items() if end and reached.get(place) != end}
        return f"records to apply: {behind}, applied up to {reached}" if behind else ""


def is_at_rest(state: WalkState) -> bool:
    """Tell whether nothing more happens to a table, and nothing more needs to."""
    if state.status == "removed":
        return True
    if state.follow_up or state.repairs or state.next_walk_at or state.full_ended is None:
        return False
    return state.status in _ENDED


def remedy(state: WalkState) -> tuple[type[Request], dict[str, Any]] | None:
    """Return what a person asks for so that a table in this state comes to its end, or None."""
    walk = {"walk": state.walk}
    if (command := _REMEDIES.get(state.status)) is not None:
        return command, walk
    if state.retry_at is not None and state.retry_seconds > _PATIENCE_SECONDS:
        return RetryWalk, walk
    if state.status == "verifying" and not state.repairs:
        verdict = given(state, "balanced")
        return RecordVerdict, {**walk, "round": 0, "barrier": state.barrier, "verdict": verdict}
    partly = state.full_ended is None and state.follow_up is None
    if state.status in _STARTED or (state.status in _ENDED and partly):
        return StartWalk, {"mode": "full"}
    return None
