"""Batches: what is gathered is gathered once, and halves adjoin."""

from hypothesis import given
from hypothesis import strategies as st

from consumers.batches import Batch, BatchBuilder, Item, Position, Span
from runtime.kafka.records import Partition, Record

PAGES = [Partition("pages", number) for number in range(3)]


def record(partition: Partition, offset: int, value: bytes = b"") -> Record:
    return Record(partition.topic, partition.number, offset, None, value, {}, 0)


def builder(records: int = 100, size: int = 10**6, **starts: int | None) -> BatchBuilder:
    made = BatchBuilder(records, size)
    made.place({place: Position(starts.get(f"p{place.number}"), 0) for place in PAGES})
    return made


def add(made: BatchBuilder, partition: Partition, *offsets: int) -> None:
    for offset in offsets:
        each = record(partition, offset)
        if made.wants(each):
            made.add(Item(each, None))


def offsets(batch: Batch) -> list[tuple[int, int]]:
    return [(item.record.partition, item.record.offset) for item in batch.items]


def test_a_batch_begins_where_the_one_before_ended() -> None:
    made = builder(p0=5)
    add(made, PAGES[0], 5, 8)
    first = made.take()
    add(made, PAGES[0], 9)
    second = made.take()

    assert first.spans == {PAGES[0]: Span(Position(5), 9)}
    assert second.spans == {PAGES[0]: Span(Position(9), 10)}
    assert made.empty


def test_nothing_is_gathered_twice_or_from_before_the_position() -> None:
    made = builder(p0=5)
    add(made, PAGES[0], 3, 5, 5, 4, 6)

    assert offsets(made.take()) == [(0, 5), (0, 6)]


def test_a_partition_never_applied_takes_whatever_comes_first() -> None:
    made = builder()
    add(made, PAGES[0], 17)

    assert made.take().spans == {PAGES[0]: Span(Position(None), 18)}


def test_a_partition_that_is_not_ours_is_not_gathered() -> None:
    made = builder()
    made.drop([PAGES[1]])
    add(made, PAGES[1], 0)
    made.reach(PAGES[1], 9)

    assert made.empty


def test_partitions_that_go_take_only_their_own_records_along() -> None:
    made = builder()
    add(made, PAGES[0], 0)
    add(made, PAGES[1], 0)
    add(made, PAGES[0], 1)
    made.drop([PAGES[1]])
    batch = made.take()

    assert offsets(batch) == [(0, 0), (0, 1)]
    assert list(batch.spans) == [PAGES[0]]


def test_markers_at_the_end_are_passed() -> None:
    made = builder(p0=5)
    made.reach(PAGES[0], 5)
    made.reach(PAGES[1], 0)
    assert made.empty

    add(made, PAGES[0], 5)
    made.reach(PAGES[0], 7)
    made.reach(PAGES[1], 2)
    assert made.take().spans == {
        PAGES[0]: Span(Position(5), 7, caught_up=True),
        PAGES[1]: Span(Position(None), 2, caught_up=True),
    }


def test_there_is_room_for_so_many_records_or_bytes() -> None:
    made = builder(records=3, size=10)
    add(made, PAGES[0], 0)
    assert made.room == 2
    made.add(Item(record(PAGES[0], 1, b"x" * 10), None))
    assert made.room == 0
    made.take()
    assert made.room == 3


def test_what_was_counted_before_stays_counted() -> None:
    made = BatchBuilder(10, 10)
    made.place({PAGES[0]: Position(0, 7)})
    add(made, PAGES[0], 0)
    made.take()
    add(made, PAGES[0], 1)

    assert made.take().counted_from() == {PAGES[0]: 7}


@given(
    gathered=st.lists(
        st.tuples(st.sampled_from(PAGES), st.integers(1, 3)), min_size=2, max_size=40
    ),
    ends=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    starts=st.lists(st.none() | st.just(0), min_size=3, max_size=3),
)
def test_halves_adjoin_down_to_single_records(
    gathered: list[tuple[Partition, int]], ends: list[int], starts: list[int | None]
) -> None:
    made = builder(10**6, **{f"p{number}": start for number, start in enumerate(starts)})
    reached = dict.fromkeys(PAGES, -1)
    for partition, step in gathered:
        reached[partition] += step
        add(made, partition, reached[partition])
    for partition, beyond in zip(PAGES, ends, strict=True):
        made.reach(partition, reached[partition] + 1 + beyond)
    whole = made.take()

    parts = [whole]
    while any(len(part.items) > 1 for part in parts):
        parts = [
            half for part in parts for half in (part.halves() if len(part.items) > 1 else (part,))
        ]

    assert [item for part in parts for item in part.items] == whole.items
    standing = {partition: span.start for partition, span in whole.spans.items()}
    for part in parts:
        for item in part.items:
            place = Partition(item.record.topic, item.record.partition)
            assert item.record.offset < part.spans[place].end
        for partition, span in part.spans.items():
            assert span.start == standing[partition]
            assert span.start.next_offset is None or span.start.next_offset < span.end
            standing[partition] = Position(span.end)
    assert standing == {partition: Position(span.end) for partition, span in whole.spans.items()}
