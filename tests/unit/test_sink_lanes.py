"""Lanes: each partition in one of them, full batches handed over, nothing mixed or forgotten."""

import threading

from consumers.batches import Batch, Item, Position
from consumers.sink.lanes import Lanes
from consumers.sink.writing import Writer
from runtime.kafka.records import Partition, Record

PARTITIONS = [Partition("pages", number) for number in range(4)]
SECONDS = 5.0


class Applies:
    """Notes the batches that it is given, once it is let."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.may = threading.Event()
        self.waits = False

    def apply(self, batch: Batch) -> bool:
        assert self.may.wait(SECONDS)
        self.batches.append(batch)
        return True

    def close(self) -> None:
        self.may.set()


def record(partition: int, offset: int) -> Item:
    return Item(Record("pages", partition, offset, "key", b"", {}, 0), None)


def lanes_of(*applies: Applies, most_records: int = 3) -> Lanes:
    lanes = Lanes([Writer(one) for one in applies], most_records, 1_000_000)
    lanes.place(dict.fromkeys(PARTITIONS, Position(0)))
    return lanes


def test_a_partition_is_always_in_the_same_lane() -> None:
    even, odd = Applies(), Applies()
    lanes = lanes_of(even, odd)
    for offset in range(2):
        for partition in (0, 1):
            item = record(partition, offset)
            assert lanes.wants(item.record)
            lanes.add(item)
    assert not lanes.wants(record(1, 1).record)
    assert lanes.reached(PARTITIONS[1]) == 2
    for one in (even, odd):
        one.may.set()
    lanes.feed()
    lanes.drain(SECONDS, lambda: None)
    (first,), (second,) = even.batches, odd.batches
    assert list(first.spans) == [PARTITIONS[0]]
    assert list(second.spans) == [PARTITIONS[1]]
    assert lanes.take_applied() == {PARTITIONS[0]: 2, PARTITIONS[1]: 2}
    assert lanes.take_applied() == {}
    lanes.close(lambda: None)


def test_a_full_lane_leaves_no_room_until_its_writer_has_some() -> None:
    busy, idle = Applies(), Applies()
    lanes = lanes_of(busy, idle, most_records=1)
    for offset in range(3):
        lanes.add(record(0, offset))
        assert lanes.room == 0
        # One batch in the writer's hand and one that waits: the third has to stay.
        assert lanes.hand_over(0.05 if offset == 2 else SECONDS) is (offset < 2)
    busy.may.set()
    assert lanes.hand_over(SECONDS)
    lanes.drain(SECONDS, lambda: None)
    assert [len(batch.items) for batch in busy.batches] == [1, 1, 1]
    assert idle.batches == []
    lanes.close(lambda: None)


def test_dropped_partitions_are_forgotten_and_the_others_kept() -> None:
    even, odd = Applies(), Applies()
    lanes = lanes_of(even, odd)
    for partition in (0, 1, 2):
        lanes.add(record(partition, 0))
    lanes.drop([PARTITIONS[0], PARTITIONS[1]])
    assert not lanes.wants(record(0, 0).record)
    for one in (even, odd):
        one.may.set()
    lanes.feed()
    lanes.drain(SECONDS, lambda: None)
    assert [list(batch.spans) for batch in even.batches] == [[PARTITIONS[2]]]
    assert odd.batches == []
    lanes.close(lambda: None)
