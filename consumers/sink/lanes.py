"""The sink's lanes: each gathers the records of its own partitions and writes them.

While PostgreSQL is busy with one lane's COPY, another lane looks up hashes, builds rows and waits
for its commit: over one connection the server would idle meanwhile. A partition belongs to one
lane, by its number, so a table's records are applied in order; and lanes meet in no row but a
site's municipality, which each inserts in key order.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from consumers.batches import BatchBuilder, Item, Position
from consumers.sink.writing import Writer
from runtime.kafka.records import Partition, Record


class _Lane(msgspec.Struct, frozen=True):
    """One writer, and the batch that is gathered for it."""

    gathered: BatchBuilder
    writer: Writer

    def offer(self) -> None:
        self.writer.offer(self.gathered.take())


class Lanes:
    """Gathers records and hands them to writers, a batch at a time."""

    def __init__(self, writers: Sequence[Writer], most_records: int, most_bytes: int) -> None:
        self._lanes: Final = [
            _Lane(BatchBuilder(most_records, most_bytes), writer) for writer in writers
        ]

    def place(self, positions: dict[Partition, Position]) -> None:
        """Forget what was gathered, and gather from these positions in these partitions."""
        for lane in self._lanes:
            mine = {p: position for p, position in positions.items() if self._lane(p) is lane}
            lane.gathered.place(mine)

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget these partitions, and what was gathered of them."""
        gone = list(partitions)
        for lane in self._lanes:
            lane.gathered.drop(gone)

    @property
    def room(self) -> int:
        """How many more records every lane has room for."""
        return min(lane.gathered.room for lane in self._lanes)

    def wants(self, record: Record) -> bool:
        """Tell whether the record lies beyond all that was gathered or applied."""
        return self._gathered(_place(record)).wants(record)

    def add(self, item: Item) -> None:
        """Gather a record that is wanted."""
        self._gathered(_place(item.record)).add(item)

    def reached(self, partition: Partition) -> int | None:
        """Return the offset up to which the partition was gathered or applied."""
        return self._gathered(partition).reached(partition)

    def reach(self, partition: Partition, offset: int) -> None:
        """Note that `partition` holds no further record below `offset`."""
        self._gathered(partition).reach(partition, offset)

    def feed(self) -> None:
        """Hand what was gathered to every writer that has nothing to do."""
        for lane in self._lanes:
            if not lane.gathered.empty and lane.writer.idle:
                lane.offer()

    def hand_over(self, seconds: float) -> bool:
        """Hand over every full batch, waiting for its writer; return False after `seconds`."""
        for lane in self._lanes:
            if not lane.gathered.room:
                if not lane.writer.wait_for_room(seconds):
                    return False
                lane.offer()
        return True

    def take_applied(self) -> dict[Partition, int]:
        """Return the positions reached since the last call."""
        applied: dict[Partition, int] = {}
        for lane in self._lanes:
            applied |= lane.writer.take_applied()
        return applied

    def check(self) -> None:
        """Raise what a batch failed with, if one did."""
        for lane in self._lanes:
            lane.writer.check()

    def forget_failure(self) -> None:
        """Go on after a failure, without the batches that wait."""
        for lane in self._lanes:
            lane.writer.forget_failure()

    def drain(self, seconds: float, beat: Callable[[], None]) -> None:
        """Wait until every batch taken is applied, each writer for `seconds` at most."""
        for lane in self._lanes:
            lane.writer.drain(seconds, beat)

    def close(self, beat: Callable[[], None]) -> None:
        """End the writers, after the batches in hand."""
        for lane in self._lanes:
            lane.writer.close(beat)

    def _lane(self, partition: Partition) -> _Lane:
        return self._lanes[partition.number % len(self._lanes)]

    def _gathered(self, partition: Partition) -> BatchBuilder:
        return self._lane(partition).gathered


def _place(record: Record) -> Partition:
    return Partition(record.topic, record.partition)
