"""Folding a batch: the last record of a key decides, every record is counted, by a simple model."""

from hypothesis import given
from hypothesis import strategies as st
from samples import SITE, gone, now, page, sent

from consumers.batches import Item, Rejected
from consumers.projections import pages
from consumers.projections.folding import Changes, Figures, Fold
from runtime.errors import RecordError
from runtime.kafka.records import Outgoing, Record
from schemas.message import Message
from schemas.records import Page, SiteRemoved, WalkBarrier
from schemas.tables import Table

PLACE = ("pages", Table(SITE, "minutes").partition)
KEY = f"{SITE}/minutes/"


def items(*given: Message | Outgoing) -> list[Item]:
    made = []
    for offset, each in enumerate(given):
        out = each if isinstance(each, Outgoing) else sent(each)
        record = Record(*PLACE, offset, out.key, out.value, out.headers, 0)
        made.append(Item(record, pages.read(record)))
    return made


def fold(
    given: list[Item], stored: dict[str, int | None] | None = None, counted_from: int = 0
) -> Changes:
    return Fold(stored or {}, {PLACE: counted_from}).apply(given)


def test_a_record_applied_again_changes_no_figure() -> None:
    changes = fold(items(page("a"), page("b"), page("c")), counted_from=2)

    assert [figures.created for figures in changes.figures.values()] == [1]
    assert len(changes.created) == 3


def test_a_cleared_hash_is_no_equal() -> None:
    changes = fold(items(page("a")), {KEY + "a": None})

    assert [each.id for each in changes.changed] == ["a"]


def test_there_and_back_again_writes_nothing() -> None:
    before = page("a")
    changes = fold(items(page("a", text="edited"), before), {KEY + "a": before.row_hash})

    assert (changes.created, changes.changed, changes.deleted) == ([], [], [])
    assert changes.figures[SITE, "minutes", 1].updated == 2


def test_a_removal_forgets_what_came_before_it_in_its_table_alone() -> None:
    stored: dict[str, int | None] = {KEY + "a": page("a").row_hash, KEY + "b": 1}
    changes = fold(
        items(page("c"), gone("b"), SiteRemoved(site=SITE, kind="minutes", at=now()), page("a")),
        stored,
    )

    assert [removal.table for removal in changes.removals] == [Table(SITE, "minutes")]
    assert [each.id for each in changes.created] == ["a"]
    assert changes.deleted == []


def test_a_removal_counts_what_was_stored_and_what_had_only_been_read() -> None:
    """Of three stored pages, the batch deletes one and brings two before the removal."""
    stored: dict[str, int | None] = {KEY + "a": 1}
    removed = SiteRemoved(site=SITE, kind="minutes", walk=4, at=now())
    changes = fold(items(page("c"), gone("a"), page("d"), removed, page("e"), removed), stored)

    first, second = changes.removals
    assert (first.unwritten, second.unwritten) == (1, 1)
    changes.remove(first, 3)
    changes.remove(second, 0)
    assert changes.figures[SITE, "minutes", 4].removed == 5


def test_a_removal_applied_again_changes_no_figure() -> None:
    removed = SiteRemoved(site=SITE, kind="minutes", walk=4, at=now())
    changes = fold(items(page("c"), removed, page("e")), counted_from=2)

    (removal,) = changes.removals
    changes.remove(removal, 3)
    assert list(changes.figures) == [(SITE, "minutes", 1)]


def test_the_last_barrier_counts() -> None:
    barriers = [
        WalkBarrier(site=SITE, kind="minutes", number=number, walk=1, at=now()) for number in (1, 2)
    ]
    changes = fold(items(*barriers))

    assert [barrier.number for barrier in changes.barriers.values()] == [2]
    assert changes.figures == {}


def test_a_record_at_fault_is_counted_under_its_walk_where_it_is_known() -> None:
    (bad,) = items(page("a", walk=4))
    error = RecordError("unstorable", "no")
    known = Item(bad.record, Rejected(error, bad.content))
    unknown = Item(bad.record, Rejected(error))

    changes = fold([known, unknown])

    assert {walk: each.dead_lettered for (_, _, walk), each in changes.figures.items()} == {
        4: 1,
        0: 1,
    }


REMOVED = "removed"
OPERATIONS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None, REMOVED])), max_size=12
)


def operation(key: str, text: str | None) -> Message | Outgoing:
    """Return a record: a page with this text, its deletion, or the removal of its table."""
    if text == REMOVED:
        return SiteRemoved(site=SITE, kind="minutes", walk=1, at=now())
    return gone(key, walk=1) if text is None else page(key, text=text)


@given(stored=st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy")), walked=OPERATIONS)
def test_it_comes_to_what_a_plain_table_would(
    stored: dict[str, str], walked: list[tuple[str, str | None]]
) -> None:
    changes = fold(
        items(*(operation(key, text) for key, text in walked)),
        {KEY + key: page(key, text=text).row_hash for key, text in stored.items()},
    )

    table = dict(stored)
    counts = dict.fromkeys(Figures.__struct_fields__, 0)
    for key, text in walked:
        if text == REMOVED:
            counts["removed"] += len(table)
            table.clear()
            continue
        counts[outcome(table, key, text)] += 1
        if text is None:
            table.pop(key, None)
        else:
            table[key] = text
    written = dict(stored)
    for removal in changes.removals:
        changes.remove(removal, len(written))
        written.clear()
    for each in (*changes.created, *changes.changed):
        assert (each.id in written) is (each in changes.changed)
        written[each.id] = str(each.text)
    for each_gone in changes.deleted:
        del written[each_gone.id]

    assert written == table
    found = changes.figures.get((SITE, "minutes", 1))
    assert {name: getattr(found, name, 0) for name in counts} == counts
    records = sum(text != REMOVED for _, text in walked)
    assert sum(counts.values()) - counts["removed"] == records
    assert len(table) - len(stored) == counts["created"] - counts["deleted"] - counts["removed"]


def outcome(table: dict[str, str], key: str, text: str | None) -> str:
    if text is None:
        return "deleted" if key in table else "unchanged"
    if key not in table:
        return "created"
    return "unchanged" if table[key] == text else "updated"


def test_pages_are_written_as_they_came() -> None:
    (change,) = fold(items(page("a"))).created

    assert isinstance(change, Page)
    assert change == page("a")
