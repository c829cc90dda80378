"""Figures under fire: each record counted once through kills, resets, removals, new beginnings."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from fix_sink import ORIGIN, DirectSink
from samples import SITE, gone, now, page, sent

from consumers.batches import BatchBuilder, Item, Rejected
from consumers.projections.folding import UNKNOWN_WALK
from consumers.registry import CONSUMERS
from consumers.sink import applying, positions
from runtime.errors import RecordError
from runtime.kafka.records import Outgoing, Partition, Record
from schemas.message import Message
from schemas.records import Municipality, SiteRemoved, WalkBarrier
from schemas.tables import Table

PLACE: Final = Partition("pages", Table(SITE, "minutes").partition)
READ_OF: Final = {consumer.topic.name: consumer.read for consumer in CONSUMERS}
IDS: Final = [f"{number:02}" for number in range(12)]


class Killed(BaseException):
    """The process died here."""


class Model:
    """A plain table, and what each record made of it, by walk."""

    def __init__(self) -> None:
        self.table: dict[str, str] = {}
        self.figures: dict[int, Counter[str]] = {}

    def count(self, walk: int, outcome: str, number: int = 1) -> None:
        if number:
            self.figures.setdefault(walk, Counter())[outcome] += number

    def put(self, page_id: str, text: str, walk: int) -> Message:
        before = self.table.get(page_id)
        outcome = "created" if before is None else "unchanged" if before == text else "updated"
        self.table[page_id] = text
        self.count(walk, outcome)
        return page(page_id, text=text, walk=walk)

    def delete(self, page_id: str, walk: int) -> Outgoing:
        self.count(walk, "deleted" if self.table.pop(page_id, None) else "unchanged")
        return gone(page_id, walk=walk)

    def remove(self, walk: int) -> Message:
        self.count(walk, "removed", len(self.table))
        self.table.clear()
        return SiteRemoved(site=SITE, kind="minutes", walk=walk, at=now())

    def reject(self, page_id: str) -> Outgoing:
        """Return a page at fault: not even the walk that it names can be right."""
        self.count(UNKNOWN_WALK, "dead_lettered")
        return sent(page(page_id, walk=-1))

    def walk(self, number: int, draw: random.Random) -> Iterator[Message | Outgoing]:
        """Yield a walk, its repairs, and now and then the removal of the site."""
        for page_id in draw.sample(IDS, draw.randint(0, len(IDS))):
            yield self.put(page_id, draw.choice("xyz"), number)
        yield WalkBarrier(site=SITE, kind="minutes", number=number, walk=number, at=now())
        for page_id in draw.sample(IDS, 3):
            yield self.delete(page_id, number)
        for page_id in draw.sample(IDS, 2):
            yield self.put(page_id, draw.choice("xyz"), number)
        if draw.random() < 0.2:
            yield self.reject("bad")
        if draw.random() < 0.4:
            yield self.remove(number)
            yield from [self.remove(number)] * draw.randint(0, 1)


def read(record: Record) -> Item:
    try:
        return Item(record, READ_OF[record.topic](record))
    except RecordError as error:
        return Item(record, Rejected(error))


def apply_some(sink: DirectSink, log: list[Record], draw: random.Random) -> bool:
    """Apply a batch from where the position stands; return whether there was any left."""
    builder = BatchBuilder(10**6, 10**9)
    builder.place(positions.read(sink.connection, [PLACE], ORIGIN))
    wanted = [record for record in log if builder.wants(record)]
    for record in wanted[: draw.randint(1, 40)]:
        builder.add(read(record))
    if not wanted:
        return False
    sink.applier.apply(sink.connection, builder.take())
    return True


def dies_at_times(draw: random.Random, share: float) -> Callable[[str], None]:
    def crash_point(_name: str) -> None:
        if draw.random() < share:
            raise Killed

    return crash_point


def stored(sink: DirectSink) -> dict[str, str]:
    return {row["id"]: row["text"] for row in sink.contents()}


@pytest.mark.parametrize("seed", range(6))
def test_every_record_is_counted_once_whatever_happens(
    seed: int, direct_sink: DirectSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, model = random.Random(seed), Model()
    walks = [list(model.walk(number, draw)) for number in range(1, 9)]
    log = direct_sink.records(*(each for walk in walks for each in walk))
    monkeypatch.setattr(applying, "crash_point", dies_at_times(draw, 0.2))
    left, resets = True, 4
    while left:
        try:
            left = apply_some(direct_sink, log, draw)
        except Killed:
            continue
        if resets and (not left or draw.random() < 0.2):
            resets, left = resets - 1, True
            direct_sink.do(
                "UPDATE pagestream_1.sink_position SET next_offset = next_offset * %s / 10",
                draw.randint(0, 9),
            )

    assert stored(direct_sink) == model.table
    figures = direct_sink.figures()
    assert figures == {walk: dict(counted) for walk, counted in model.figures.items()}
    totals: Counter[str] = Counter()
    for counted in figures.values():
        totals.update(counted)
    marks = [each for each in log if (each.key or "").endswith(("#barrier", "#removed"))]
    assert totals.total() - totals["removed"] == len(log) - len(marks)
    grown = totals["created"] - totals["deleted"] - totals["removed"]
    assert grown == len(model.table)


def test_without_the_mark_of_what_was_counted_a_reset_counts_twice(
    direct_sink: DirectSink,
) -> None:
    model = Model()
    log = direct_sink.records(model.put("a", "x", 1), model.remove(1))
    draw = random.Random(0)
    while apply_some(direct_sink, log, draw):
        pass
    assert direct_sink.figures() == {1: {"created": 1, "removed": 1}}
    direct_sink.do("UPDATE pagestream_1.sink_position SET next_offset = 0, applied_to = 0")
    while apply_some(direct_sink, log, draw):
        pass
    assert direct_sink.figures() == {1: {"created": 2, "removed": 2}}


def test_a_removed_site_is_flagged_emptied_once_and_begins_anew(direct_sink: DirectSink) -> None:
    removed = SiteRemoved(site=SITE, kind="minutes", walk=1, at=now())
    direct_sink.apply(Municipality(site=SITE, name="Alameda"), page("a"), page("b"))
    direct_sink.apply(removed, Municipality(site=SITE, name="Alameda", removed=True))
    assert direct_sink.ids() == []
    assert direct_sink.one("SELECT removed FROM pagestream.municipality") == {"removed": True}

    direct_sink.apply(removed)
    assert direct_sink.figures() == {1: {"created": 2, "removed": 2}}

    direct_sink.apply(Municipality(site=SITE, name="Alameda"), page("a", walk=2))
    assert direct_sink.ids() == ["a"]
    assert direct_sink.one("SELECT removed FROM pagestream.municipality") == {"removed": False}
    assert len(direct_sink.rows("SELECT * FROM pagestream.meeting_document")) == 1


def test_a_replay_of_what_compaction_left_ends_equal(direct_sink: DirectSink) -> None:
    """Of each key the topic keeps the newest record, and so of the removals."""
    draw, model = random.Random(3), Model()
    log = direct_sink.records(*(each for n in range(1, 9) for each in model.walk(n, draw)))
    newest = {record.key: record for record in log}
    kept = sorted(newest.values(), key=lambda record: record.offset)
    assert len(kept) < len(log)

    while apply_some(direct_sink, kept, draw):
        pass

    assert stored(direct_sink) == model.table
