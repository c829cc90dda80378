"""A batch: records in order, and the stretch of each partition that applying them covers."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import msgspec

from runtime.errors import RecordError
from runtime.kafka.records import Partition, Record


class Position(msgspec.Struct, frozen=True):
    """How far a partition has been applied.

    `next_offset` is the offset of the next record to be applied, None where nothing ever was.
    Records below `counted_from` have been counted before: after a reset to an earlier offset they
    are applied again without changing a figure. `age` is the time since the partition was last
    applied to its end, or begun.
    """

    next_offset: int | None = None
    counted_from: int = 0
    age: timedelta = timedelta()


class Span(msgspec.Struct, frozen=True):
    """What a batch covers of one partition: from its position `start` up to the offset `end`.

    `caught_up` says that the partition held nothing beyond it when it was read.
    """

    start: Position
    end: int
    caught_up: bool = False


class Rejected(msgspec.Struct, frozen=True):
    """The content of a record at fault: why, and the message where it could be read."""

    error: RecordError
    message: object | None = None


class Item(msgspec.Struct, frozen=True, gc=False):
    """One record of a batch, and what its projection read in it."""

    record: Record
    content: object


class Batch(msgspec.Struct, frozen=True):
    """Records to be applied in one transaction, each partition's in the order it has them."""

    items: list[Item]
    spans: dict[Partition, Span]

    def counted_from(self) -> dict[tuple[str, int], int]:
        """Return the offset of each partition from which its records have never been applied."""
        return {partition: span.start.counted_from for partition, span in self.spans.items()}

    def halves(self) -> tuple["Batch", "Batch"]:
        """Return two batches which, applied one after the other, are this one.

        The second starts in each partition where the first ends.
        """
        middle = len(self.items) // 2
        earlier, later = self.items[:middle], self.items[middle:]
        reached = {
            Partition(item.record.topic, item.record.partition): item.record.offset + 1
            for item in earlier
        }
        first, second = {}, {}
        for partition, span in self.spans.items():
            end = reached.get(partition)
            if end is None:
                second[partition] = span
                continue
            first[partition] = Span(span.start, end)
            if end < span.end:
                rest = Position(end, span.start.counted_from)
                second[partition] = Span(rest, span.end, span.caught_up)
        return Batch(earlier, first), Batch(later, second)


class BatchBuilder:
    """Gathers records until there is a batch's worth of them, by number or by bytes."""

    def __init__(self, most_records: int, most_bytes: int) -> None:
        self._most_records: Final = most_records
        self._most_bytes: Final = most_bytes
        self._positions: dict[Partition, Position] = {}
        self._items: list[Item] = []
        self._bytes = 0
        self._ends: dict[Partition, int] = {}
        self._log_ends: dict[Partition, int] = {}

    def place(self, positions: dict[Partition, Position]) -> None:
        """Forget what was gathered, and gather from these positions in these partitions."""
        self._positions = positions
        self._log_ends = {}
        self._start_anew()

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget these partitions, and what was gathered of them."""
        gone = set(partitions)
        kept = [
            item
            for item in self._items
            if Partition(item.record.topic, item.record.partition) not in gone
        ]
        ends = {partition: end for partition, end in self._ends.items() if partition not in gone}
        for partition in gone:
            self._positions.pop(partition, None)
            self._log_ends.pop(partition, None)
        self._start_anew()
        self._items, self._ends = kept, ends
        self._bytes = sum(len(item.record.value or b"") for item in kept)

    def wants(self, record: Record) -> bool:
        """Tell whether the record lies beyond all that was gathered or applied."""
        return self._is_beyond(Partition(record.topic, record.partition), record.offset)

    def add(self, item: Item) -> None:
        """Gather a record that is wanted."""
        record = item.record
        self._items.append(item)
        self._bytes += len(record.value or b"")
        self._ends[Partition(record.topic, record.partition)] = record.offset + 1

    def reached(self, partition: Partition) -> int | None:
        """Return the offset up to which the partition was gathered or applied."""
        position = self._positions.get(partition)
        return self._ends.get(partition, position.next_offset if position else None)

    def reach(self, partition: Partition, offset: int) -> None:
        """Note that `partition` holds no further record below `offset`: markers, perhaps."""
        self._log_ends[partition] = offset
        if offset > 0 and self._is_beyond(partition, offset - 1):
            self._ends[partition] = offset

    def _is_beyond(self, partition: Partition, offset: int) -> bool:
        position = self._positions.get(partition)
        if position is None:
            return False
        end = self._ends.get(partition, position.next_offset)
        return end is None or offset >= end

    @property
    def room(self) -> int:
        """How many more records there is room for: none where there is a batch's worth."""
        if self._bytes >= self._most_bytes:
            return 0
        return max(0, self._most_records - len(self._items))

    @property
    def empty(self) -> bool:
        """Whether there is nothing to apply."""
        return not self._ends

    def take(self) -> Batch:
        """Return what was gathered as a batch, and gather on from its end."""
        spans = {
            partition: Span(
                self._positions[partition], end, caught_up=end == self._log_ends.get(partition)
            )
            for partition, end in self._ends.items()
        }
        batch = Batch(self._items, spans)
        for partition, span in spans.items():
            self._positions[partition] = Position(span.end, span.start.counted_from)
        self._start_anew()
        return batch

    def _start_anew(self) -> None:
        self._items = []
        self._bytes = 0
        self._ends = {}
