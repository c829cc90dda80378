"""Sites whose cursors lead nowhere, whose counts are wrong, and whose version changes mid-walk."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest
from fault_source import (
    Act,
    Body,
    Where,
    changed,
    listing,
    meanwhile,
    nth,
    paged_listing,
    pages,
    refusing,
    sql,
    with_query,
)
from fix_faults import ROWS, TRIES, FaultRig, answer_to, failure_of, site_of
from fix_source import SourceFarm, SourceSite

from pagestream.embedded.datasette import Version
from schemas.commands import CancelWalk, RefetchPages, StartWalk
from schemas.walks import Mode


def next_is(token: str | None) -> Act:
    """Answer with another cursor than the real one."""
    return changed(lambda body: body.update(next=token))


def without_rows(token: str | None) -> Act:
    """Answer with no rows at all, and this cursor."""
    return changed(lambda body: body.update(rows=[], next=token))


@dataclass(frozen=True)
class Astray:
    """A response that leads astray: which, how, and what a walk says that meets it."""

    where: Where
    act: Act
    says: str


ASTRAY: Final = {
    "31-next-loops": Astray(
        nth(2),
        lambda plot, asked: next_is(asked.query["_next"])(plot, asked),
        "its next is the cursor that was sent",
    ),
    "31-goes-back": Astray(nth(2), with_query(_next=""), "not beyond"),
    "31-no-rows-with-next": Astray(nth(2), without_rows("x,x"), "it holds no rows"),
    "31-no-rows-no-next": Astray(nth(2), without_rows(None), "it holds no rows"),
    "31-out-of-order": Astray(
        nth(2), changed(lambda body: body["rows"].reverse()), "its ids do not rise"
    ),
}


@pytest.mark.parametrize("astray", ASTRAY.values(), ids=ASTRAY)
def test_a_cursor_that_leads_astray_ends_no_walk(
    fault_rig: FaultRig, quiet_site: SourceSite, astray: Astray
) -> None:
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(astray.where, astray.act)
    fault_rig.begin_walk(table)
    fault_rig.fails(table)
    expected = quiet_site.rows("minutes")
    walked = fault_rig.walked(table)
    failed = failure_of(walked)
    assert (failed.reason, failed.attempt) == ("broken_response", TRIES - 1)
    assert astray.says in failed.error
    assert walked.ids == [row["id"] for row in expected[:ROWS]]
    assert (walked.barriers, walked.letters, walked.tombstones) == ([], [], 0)
    assert len(plot.troubled) == TRIES
    plot.heal()
    fault_rig.retry(table)
    fault_rig.assert_whole(table, expected)


def test_a_cursor_that_comes_again_is_no_way_on_and_another_walk_is(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 31-next-repeats: what was published before stays, and nothing is published twice.

    The site gave the wrong cursor, and the walk holds it: only a walk from the beginning helps.
    """
    table, plot = fault_rig.plot(quiet_site)

    def repeats(body: Body) -> None:
        (cursor,) = {r.cursor for r in plot.requests if nth(2)(r)}
        body["next"] = cursor

    plot.trouble(nth(3), changed(repeats), times=1)
    fault_rig.begin_walk(table)
    fault_rig.fails(table)
    expected = [row["id"] for row in quiet_site.rows("minutes")]
    walked = fault_rig.walked(table)
    assert "not beyond" in failure_of(walked).error
    assert walked.ids == expected
    fault_rig.send(CancelWalk, table, walk=1)
    fault_rig.send(StartWalk, table, rows=ROWS)
    fault_rig.ends(table, walk=2)
    again = fault_rig.walked(table)
    assert (again.ids, again.listed, len(again.barriers)) == (2 * expected, expected, 1)


SWAPS: Final[dict[str, tuple[Version, Version]]] = {
    "34-0.65-to-1.0": ("0.65", "1.0"),
    "34-1.0-to-0.65": ("1.0", "0.65"),
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS)
@pytest.mark.parametrize("where", [nth(2), listing], ids=["pages", "listing"])
def test_a_site_that_moves_to_another_version_is_walked_on(
    fault_rig: FaultRig, source_farm: SourceFarm, swap: tuple[Version, Version], where: Where
) -> None:
    before, after = (site_of(source_farm, version) for version in swap)
    table, plot = fault_rig.plot(before)
    plot.trouble(where, meanwhile(lambda: setattr(plot, "site", after)), times=1)
    fault_rig.begin_walk(table)
    assert fault_rig.ends(table).retries == 0
    fault_rig.assert_whole(table, before.rows("minutes"))
    assert plot.site is after
    back = meanwhile(lambda: setattr(plot, "site", before))
    plot.trouble(lambda request: sql(request) or pages(request), back, times=1)
    fault_rig.send(StartWalk, table, mode="verify")
    fault_rig.ends(table, walk=2)
    assert fault_rig.walked(table).listed == [row["id"] for row in before.rows("minutes")]


def counts(number: int | None) -> Act:
    """Answer with another count than the real one, under every name that it goes by."""
    names = ("count", "filtered_table_rows_count")
    return changed(lambda body: body.update(dict.fromkeys(names, number)))


@pytest.mark.parametrize(
    "act",
    [counts(7), counts(10_001), counts(None)],
    ids=["35-counts-low", "35-counts-capped", "35-counts-unknown"],
)
def test_a_count_beside_pages_is_never_believed(
    fault_rig: FaultRig, quiet_site: SourceSite, act: Act
) -> None:
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(pages, act)
    fault_rig.begin_walk(table)
    assert fault_rig.ends(table).retries == 0
    fault_rig.assert_whole(table, quiet_site.rows("minutes"))


def test_a_front_end_that_gives_fewer_rows_than_asked_is_walked_to_its_end(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 35-rows-capped: a short response is not the last."""
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(pages, with_query(_size="40"))
    fault_rig.begin_walk(table, rows=100)
    assert fault_rig.ends(table).retries == 0
    walked = fault_rig.assert_whole(table, quiet_site.rows("minutes"))
    assert len(walked.steps) == 4


def of_slice(change: Callable[[Body], object]) -> Act:
    """Answer with a slice of the listing in which something was changed."""
    return changed(lambda body: change(body["rows"][0]))


SHORT: Final = {
    "35-listing-short": of_slice(lambda row: row.update(ids='["' + "0" * 12 + '"]')),
    "35-listing-counts-less": of_slice(lambda row: row.update(remaining=row["remaining"] - 1)),
    "35-listing-counts-more": of_slice(lambda row: row.update(remaining=row["remaining"] + 1)),
    "35-listing-truncated": changed(lambda body: body.update(truncated=True)),
    "35-listing-empty": changed(lambda body: body.update(rows=[])),
}


@pytest.mark.parametrize("act", SHORT.values(), ids=SHORT)
def test_a_listing_that_is_not_certainly_whole_is_no_listing(
    fault_rig: FaultRig, quiet_site: SourceSite, act: Act
) -> None:
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(listing, act)
    fault_rig.begin_walk(table)
    fault_rig.fails(table)
    walked = fault_rig.walked(table)
    failed = failure_of(walked)
    assert (failed.reason, failed.attempt) == ("broken_response", TRIES - 1)
    assert (walked.barriers, walked.tombstones) == ([], 0)
    plot.heal()
    fault_rig.retry(table)
    fault_rig.assert_whole(table, quiet_site.rows("minutes"))


@pytest.mark.parametrize("mode", ["full", "verify"])
def test_a_site_without_sql_is_listed_by_paging(
    fault_rig: FaultRig, quiet_site: SourceSite, mode: Mode
) -> None:
    """Row 35-no-sql."""
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(sql, refusing(403, {"ok": False, "error": "Permission denied"}))
    fault_rig.add(table)
    fault_rig.send(StartWalk, table, rows=ROWS, mode=mode)
    assert fault_rig.ends(table).retries == 0
    assert fault_rig.walked(table).listed == [row["id"] for row in quiet_site.rows("minutes")]
    assert plot.count(paged_listing) == 3
    assert len(plot.troubled) == 2


@pytest.mark.parametrize(
    "act",
    [
        changed(lambda body: body["rows"].pop()),
        changed(lambda body: body["rows"].pop(0)),
        changed(lambda body: body["rows"].append({**body["rows"][-1], "id": "unasked"})),
        refusing(200, {"ok": True, "rows": [], "truncated": False}),
    ],
    ids=["35-repair-short", "35-repair-headless", "35-repair-unasked", "35-repair-empty"],
)
def test_an_answer_to_a_repair_that_is_not_certainly_whole_proves_nothing(
    fault_rig: FaultRig, quiet_site: SourceSite, act: Act
) -> None:
    table, plot = fault_rig.plot(quiet_site)
    fault_rig.begin_walk(table)
    fault_rig.ends(table)
    ids = [row["id"] for row in quiet_site.rows("minutes")]
    wanted = {"walk": 1, "round": 1, "ids": tuple(ids[10:20]), "control_id": ids[0]}
    plot.trouble(sql, act)
    refused = fault_rig.send(RefetchPages, table, **wanted)
    assert answer_to(fault_rig, table, refused).answer == "refused"
    assert len(plot.troubled) == TRIES
    before = fault_rig.walked(table)
    assert (before.ids, before.tombstones, len(before.barriers)) == (ids, 0, 1)

    plot.heal()
    done = fault_rig.send(RefetchPages, table, **wanted)
    assert answer_to(fault_rig, table, done).answer == "done"
    after = fault_rig.walked(table)
    assert (after.ids, after.tombstones, len(after.barriers)) == ([*ids, *ids[10:20]], 0, 2)
