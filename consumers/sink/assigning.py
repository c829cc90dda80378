"""Taking partitions over: where each stands, and whether the sink may go on from there."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import psycopg

from consumers.batches import Position
from consumers.sink import examining, positions
from consumers.sink.examining import Log
from consumers.sink.outages import Outage
from consumers.sink.positions import Origin, PositionMoved, Step
from consumers.sink.standstill import end_standstill
from runtime.database.fates import door
from runtime.errors import (
    BrokerUnavailable,
    ConfigurationError,
    DatabaseUnavailable,
    Unavailable,
)
from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Committed, Partition, Record
from runtime.logs import logger

Positions = dict[Partition, Position]
Beat = Callable[[], None]
FirstRecord = Callable[[Partition, int, int], Record | None]
"""Returns the first record of a partition between two offsets, the second one excluded."""

T = TypeVar("T")


class PositionReader:
    """Reads positions, over a connection of its own each time, waiting for both servers."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        cluster: Cluster,
        first_record: FirstRecord,
        origin: Origin,
        outage: Outage,
    ) -> None:
        self._connect = connect
        self._cluster = cluster
        self._first_record = first_record
        self._origin = origin
        self._outage = outage
        self._log = logger("sink")

    def read(self, partitions: Iterable[Partition], beat: Beat) -> Positions:
        """Return the position of each partition; none at all when the process must stop.

        Raises ConfigurationError for a position from which the sink cannot go on.
        """
        return self._patiently(lambda: self._examined(partitions, beat)[0], beat) or {}

    def take_over(
        self,
        partitions: Iterable[Partition],
        committed: Callable[[], dict[Partition, Committed]],
        beat: Beat,
    ) -> tuple[Positions, dict[Partition, int]]:
        """Return the position of each partition assigned, and those that Kafka shall show.

        1. Read the positions, and refuse those from which the sink cannot go on.
        2. Read what the group has committed. An offset without our mark is an operator's reset.
        3. Refuse a forward one. Obey a backward one: by compare-and-swap, or begin again.
        4. Whatever Kafka does not show, or shows unmarked, is to be committed: only now, because
           it ends the reset.

        Returns nothing at all when the process must stop.
        """
        found = self._patiently(lambda: self._obeyed(partitions, committed, beat), beat)
        return ({}, {}) if found is None else found

    def _patiently(self, ask: Callable[[], T], beat: Beat) -> T | None:
        while True:
            beat()
            try:
                answer = ask()
            except PositionMoved:
                continue
            except (DatabaseUnavailable, BrokerUnavailable, Unavailable) as error:
                end_standstill(error, self._connect)
                if not self._outage.wait(error):
                    return None
            else:
                self._outage.over()
                return answer

    def _obeyed(
        self,
        partitions: Iterable[Partition],
        committed: Callable[[], dict[Partition, Committed]],
        beat: Beat,
    ) -> tuple[Positions, dict[Partition, int]]:
        standing, logs = self._examined(partitions, beat)
        known = committed()
        judged = {
            partition: examining.wanted(partition, position, logs[partition], known[partition])
            for partition, position in standing.items()
        }
        steps = {partition: step for partition, step in judged.items() if step is not None}
        if steps:
            with door(), self._connect() as connection:
                positions.go_back(connection, steps)
                standing |= positions.read(connection, steps, self._origin)
            self._tell(steps)
        return standing, examining.unmirrored(standing, known)

    def _tell(self, steps: dict[Partition, Step]) -> None:
        for partition, step in steps.items():
            self._log.warning(
                "reset_obeyed",
                topic=partition.topic,
                partition=partition.number,
                applied_to=step.start,
                offset=step.target,
            )

    def _examined(
        self, partitions: Iterable[Partition], beat: Beat
    ) -> tuple[Positions, dict[Partition, Log]]:
        with door(), self._connect() as connection:
            standing = positions.read(connection, partitions, self._origin)
        beat()
        # After the positions: asked for before, they could be lower than what is applied since.
        starts = self._cluster.starts(standing)
        ends = self._cluster.ends(standing, pending_too=True)
        logs = {partition: Log(starts[partition], ends[partition]) for partition in standing}
        for partition, position in standing.items():
            examining.check_inside(partition, position, logs[partition])
            if examining.is_old(partition, position, logs[partition]):
                self._check_age(partition, position)
        return standing, logs

    def _check_age(self, partition: Partition, position: Position) -> None:
        start, end = position.next_offset or 0, self._cluster.ends([partition])[partition]
        beyond = self._first_record(partition, start, end) if end > start else None
        examining.check_age(partition, position, beyond, time.time())

    def check_origin(self) -> None:
        """Raise ConfigurationError when a topic was made anew: its offsets mean other records.

        A broker that does not answer is no reason, nor one that does not show the topic: who reads
        from it will notice. Nor is a topic's setting that somebody has changed meanwhile.
        """
        try:
            topic_ids = self._cluster.topic_ids()
        except Unavailable:
            return
        for topic, topic_id in self._origin.topic_ids.items():
            if topic_ids.get(topic, topic_id) != topic_id:
                raise ConfigurationError(
                    f"topic {topic} was made anew while the sink was running: it had id "
                    f"{topic_id} and has {topic_ids[topic]}",
                    remedy="fill a new database from what it has now",
                )
