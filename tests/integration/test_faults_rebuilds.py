"""Sites whose SQLite file is changed, emptied, locked, damaged or rebuilt under a walk."""

import itertools
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import pytest
from fault_source import listing, meanwhile, nth
from fix_faults import MINUTES, ROWS, TRIES, FaultRig, Walked, answer_to, as_row, failure_of
from fix_source import TYPED, Row, SourceFarm, SourceSite, insert_rows, make_page, make_pages

from schemas.commands import PrunePages, RefetchPages, StartWalk
from schemas.events import RowsAmended
from schemas.tables import Table

PAGES: Final = make_pages("minutes", MINUTES)
_COUNTERS: Final = itertools.count(1_000_000)


@dataclass
class Changing:
    """A real Datasette's file, to be changed under it."""

    site: SourceSite

    def do(self, change: Callable[[sqlite3.Connection], object]) -> None:
        """Change the file in one transaction."""
        with closing(sqlite3.connect(self.site.database)) as connection, connection:
            change(connection)

    def fill(self, rows: list[Row]) -> None:
        """Have exactly these minutes, in a table made anew."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DROP TABLE IF EXISTS minutes")
            connection.execute(f"CREATE TABLE minutes ({TYPED})")
            insert_rows(connection, "minutes", rows)

        self.do(change)

    def empty(self) -> None:
        """Have no minutes."""
        self.do(lambda connection: connection.execute("DELETE FROM minutes"))

    def drop(self) -> None:
        """Have no table of minutes."""
        self.do(lambda connection: connection.execute("DROP TABLE minutes"))

    def overwrite(self, content: bytes) -> None:
        """Have other bytes in the same file."""
        with self.site.database.open("r+b") as file:
            file.write(content)
            file.truncate(len(content))

    def restore(self, content: bytes) -> None:
        """Have a whole file again, which readers take for a newer one: by its change counters."""
        counter = next(_COUNTERS).to_bytes(4)
        self.overwrite(content[:24] + counter + content[28:92] + counter + content[96:])

    def rows(self) -> list[Row]:
        """Return the minutes, by id."""
        return list(self.site.rows("minutes"))


@pytest.fixture(scope="module")
def private_site(source_farm: SourceFarm) -> tuple[SourceSite, bytes]:
    site = source_farm.private(version="1.0", minutes=PAGES)
    return site, site.database.read_bytes()


@pytest.fixture
def changing(private_site: tuple[SourceSite, bytes]) -> Changing:
    """A site as it is at first, of which a test may change whatever it likes."""
    site, whole = private_site
    changing = Changing(site)
    changing.restore(whole)
    return changing


def edited(number: int) -> Row:
    """Return what an edit makes of a page: the same slot, another text, and so another id."""
    old = PAGES[number]
    return make_page("minutes", old["meeting"], old["date"], old["page"], f"{old['text']} (edited)")


def edit_pages(connection: sqlite3.Connection) -> None:
    """Edit every third page: its old id vanishes."""
    for number in range(0, MINUTES, 3):
        connection.execute("DELETE FROM minutes WHERE id = ?", (PAGES[number]["id"],))
        insert_rows(connection, "minutes", [edited(number)])


def delete_and_insert(connection: sqlite3.Connection) -> None:
    """Take every fourth page away, and bring forty new ones."""
    for page in PAGES[::4]:
        connection.execute("DELETE FROM minutes WHERE id = ?", (page["id"],))
    insert_rows(connection, "minutes", make_pages("minutes", 40, seed=7))


CHANGES: Final = {"33-ids-change": edit_pages, "33-rows-come-and-go": delete_and_insert}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_mid_walk_is_named_by_the_listing_and_mended_by_repairs(
    fault_rig: FaultRig, changing: Changing, change: Callable[[sqlite3.Connection], None]
) -> None:
    table, plot = fault_rig.plot(changing.site)
    plot.trouble(nth(2), meanwhile(lambda: changing.do(change)), times=1)
    fault_rig.begin_walk(table)
    assert fault_rig.ends(table).retries == 0
    after = {row["id"]: row for row in changing.rows()}
    walked = fault_rig.walked(table)
    published = set(walked.ids)
    assert len(walked.ids) == len(published)
    assert walked.listed == sorted(after)
    # Of what changed behind the cursor the walk saw nothing; of the rest, all.
    cursor = walked.ids[ROWS - 1]
    missed, ghosts = sorted(after.keys() - published), sorted(published - after.keys())
    before = {page["id"] for page in PAGES}
    assert missed == sorted(i for i in after.keys() - before if i <= cursor)
    assert ghosts == sorted(i for i in before - after.keys() if i <= cursor)
    assert missed
    assert ghosts
    mend(fault_rig, table, missed, ghosts)
    assert mended(fault_rig.walked(table)) == after


def mend(rig: FaultRig, table: Table, missed: list[str], ghosts: list[str]) -> None:
    """Have what was missed published, and what is gone deleted."""
    repairs = ((RefetchPages, missed), (PrunePages, ghosts))
    sent = [rig.send(repair, table, walk=1, round=1, ids=tuple(ids)) for repair, ids in repairs]
    assert [answer_to(rig, table, one).answer for one in sent] == ["done", "done"]


def mended(walked: Walked) -> dict[str, Row]:
    """Return what a copy holds after all that was published, by id."""
    gone = {
        one.id
        for event in walked.of(RowsAmended)
        for one in event.amendments
        if one.row_hash is None
    }
    assert walked.tombstones == len(gone)
    return {page.id: as_row(page) for page in walked.pages if page.id not in gone}


@dataclass(frozen=True)
class Gone:
    """A table that has lost its rows, and how a walk fails that is in the middle of it."""

    happens: Callable[[Changing], object]
    reason: str
    says: str


GONE: Final = {
    "33-emptied": Gone(Changing.empty, "broken_response", "it holds no rows"),
    "33-table-missing": Gone(Changing.drop, "not_found", "it has no such table"),
    "33-file-missing": Gone(
        lambda changing: changing.overwrite(b""), "not_found", "it has no such table"
    ),
    "33-file-damaged": Gone(
        lambda changing: changing.overwrite(os.urandom(8192)), "server_error", "answered 500"
    ),
}


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
def test_a_table_that_loses_its_rows_mid_walk_is_no_end_of_it(
    fault_rig: FaultRig, changing: Changing, gone: Gone
) -> None:
    whole, expected = changing.site.database.read_bytes(), changing.rows()
    table, plot = fault_rig.plot(changing.site)
    plot.trouble(nth(2), meanwhile(lambda: gone.happens(changing)), times=1)
    fault_rig.begin_walk(table)
    fault_rig.fails(table)
    walked = fault_rig.walked(table)
    failed = failure_of(walked)
    assert (failed.reason, failed.attempt) == (gone.reason, TRIES - 1)
    assert gone.says in failed.error
    assert walked.ids == [row["id"] for row in expected[:ROWS]]
    assert (walked.barriers, walked.letters, walked.tombstones) == ([], [], 0)
    changing.restore(whole)
    fault_rig.retry(table)
    fault_rig.assert_whole(table, expected)


@pytest.mark.parametrize("happens", [Changing.drop, lambda changing: changing.overwrite(b"")])
def test_a_table_that_held_rows_is_never_absent(
    fault_rig: FaultRig, changing: Changing, happens: Callable[[Changing], object]
) -> None:
    """Row 33-missing-at-first: the next walk finds no table, and fails; its pages stay."""
    table, _ = fault_rig.plot(changing.site)
    fault_rig.begin_walk(table)
    fault_rig.ends(table)
    happens(changing)
    fault_rig.send(StartWalk, table, rows=ROWS)
    state = fault_rig.reaches(table, "failed", "completed", "unverified", walk=2)
    assert (state.status, state.verdict) == ("failed", None)
    walked = fault_rig.walked(table)
    assert (failure_of(walked).reason, walked.tombstones) == ("not_found", 0)


def test_a_table_emptied_before_its_listing_loses_nothing_here(
    fault_rig: FaultRig, changing: Changing
) -> None:
    """Row 33-emptied-late: the listing says what it saw; only a verdict may delete by it."""
    table, plot = fault_rig.plot(changing.site)
    plot.trouble(listing, meanwhile(changing.empty), times=1)
    fault_rig.begin_walk(table)
    state = fault_rig.ends(table)
    walked = fault_rig.walked(table)
    assert (state.pages, state.listed, walked.listed) == (MINUTES, 0, [])
    assert (len(walked.ids), walked.tombstones) == (MINUTES, 0)


def test_a_locked_file_is_tried_again(fault_rig: FaultRig, changing: Changing) -> None:
    """Row 33-locked: whoever writes keeps readers out for longer than a request may take."""
    table, plot = fault_rig.plot(changing.site, source_deadline=1.0)
    with closing(
        sqlite3.connect(changing.site.database, isolation_level=None, check_same_thread=False)
    ) as writer:
        plot.trouble(nth(2), meanwhile(lambda: writer.execute("BEGIN EXCLUSIVE")), times=1)
        plot.trouble(nth(2), meanwhile(lambda: writer.execute("ROLLBACK")), times=1)
        fault_rig.begin_walk(table)
        state = fault_rig.ends(table)
    assert state.retries >= 1
    assert "took too long" in (state.last_error or "")
    fault_rig.assert_whole(table, changing.rows())


def test_a_rebuild_in_place_ends_no_walk_early_and_its_listing_names_what_was_missed(
    fault_rig: FaultRig, changing: Changing
) -> None:
    """Row 33-rebuilt: no table, an empty one, a half-filled one, and then a whole one.

    Half of the rows look like a finished walk: the last response has no `next`.
    """
    table, plot = fault_rig.plot(changing.site)
    half = PAGES[::2]
    stages = (changing.drop, lambda: changing.fill([]), lambda: changing.fill(half))
    for happens in stages:
        plot.trouble(nth(2), meanwhile(happens), times=1)
    plot.trouble(listing, meanwhile(lambda: changing.fill(PAGES)), times=1)
    fault_rig.begin_walk(table)
    state = fault_rig.ends(table)
    assert state.retries == 2
    ids = sorted(page["id"] for page in PAGES)
    walked = fault_rig.walked(table)
    cursor = ids[ROWS - 1]
    assert walked.ids == [*ids[:ROWS], *sorted(p["id"] for p in half if p["id"] > cursor)]
    assert walked.listed == ids
    missed = sorted(set(ids) - set(walked.ids))
    assert len(missed) > MINUTES // 5
    mend(fault_rig, table, missed, missed[:1])
    assert mended(fault_rig.walked(table)) == {page["id"]: dict(page) for page in PAGES}
