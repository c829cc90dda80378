"""When a followed walk is over, has failed, and is stored to its end."""

from typing import Any

import pytest

from pagestream.backfilling import FollowedWalk, Stored, result_of, start_walks
from pagestream.cli.walking import report_failures
from runtime.errors import NotDone
from schemas.tables import Table
from schemas.walks import Position, WalkState

TABLE = Table("a.ca", "minutes")
BEFORE = WalkState(site="a.ca", kind="minutes", status="unverified", walk=4, pages=90, barrier=4)


def state(**fields: Any) -> WalkState:
    return WalkState(**{"site": "a.ca", "kind": "minutes", "walk": 5, "barrier": 4} | fields)


def followed(
    *states: WalkState,
    stored: Stored | None = None,
    before: WalkState = BEFORE,
    waits: bool = False,
) -> FollowedWalk:
    walk = FollowedWalk(before, waits=waits)
    for each in states:
        walk.see(each)
    walk.stored = stored
    return walk


GOING = state(status="in_progress", pages=50, position=Position(phase="pages", after="8"))
ENDED = state(status="unverified", pages=100, barrier=5)
FAILED = state(status="failed", pages=60, error="timeout", position=Position(phase="pages"))


def test_a_walk_is_asked_for_after_the_newest_that_is_known() -> None:
    (request,) = start_walks([TABLE], {TABLE: BEFORE}, rows=500)
    assert (request.after_walk, request.rows, request.table) == (4, 500, TABLE)


def test_the_walk_before_does_not_count() -> None:
    walk = followed(BEFORE)
    assert walk.state is None
    assert not walk.over
    assert not walk.everything_stored


def test_a_walk_that_goes_on_is_not_over() -> None:
    walk = followed(GOING)
    assert not walk.over
    assert walk.outlook().pages == 90


@pytest.mark.parametrize(("barrier", "stored"), [(4, False), (5, True), (6, True)])
def test_all_is_stored_when_the_sink_has_passed_the_barrier(barrier: int, stored: bool) -> None:  # noqa: FBT001 - a parameter
    walk = followed(GOING, ENDED, stored=Stored(created=100, barrier=barrier))
    assert walk.over
    assert not walk.failed
    assert walk.everything_stored == stored


def test_without_an_answer_of_the_database_nothing_is_called_stored() -> None:
    assert not followed(ENDED).everything_stored


@pytest.mark.parametrize(("created", "stored"), [(59, False), (60, True)])
def test_a_failed_walk_has_no_barrier_and_is_stored_by_count(created: int, stored: bool) -> None:  # noqa: FBT001 - a parameter
    walk = followed(GOING, FAILED, stored=Stored(created=created, barrier=4))
    assert walk.over
    assert walk.failed
    assert walk.everything_stored == stored


NEXT = state(walk=6, status="in_progress", barrier=5, position=Position(phase="pages"))


def test_the_end_of_a_walk_that_another_follows_is_not_missed() -> None:
    walk = followed(GOING, ENDED, NEXT, stored=Stored(created=100, barrier=5))
    assert walk.everything_stored
    assert (result_of(walk).status, result_of(walk).pages) == ("unverified", 100)


@pytest.mark.parametrize("seen", [[GOING, NEXT], [NEXT]], ids=["begun", "nothing"])
def test_a_walk_whose_end_was_not_seen_is_stored_at_its_own_barrier(seen: list[WalkState]) -> None:
    walk = followed(*seen, stored=Stored(created=100, barrier=4))
    assert walk.over
    assert not walk.everything_stored
    walk.stored = Stored(created=100, barrier=5)
    assert walk.everything_stored


UNDER_WAY = state(walk=4, status="in_progress", position=Position(phase="pages"))


@pytest.mark.parametrize("status", ["failed", "paused", "cancelled", "removed"])
def test_a_walk_that_waits_behind_one_that_stands_still_is_over_and_not_done(status: str) -> None:
    stopped = state(walk=4, status=status, error="no answer in 30 s")
    walk = followed(stopped, before=UNDER_WAY, waits=True)
    assert walk.everything_stored
    assert result_of(walk).status == "pending"
    with pytest.raises(NotDone) as caught:
        report_failures([walk])
    line = str(caught.value)
    assert f"behind walk 4, which is {status}: no answer in 30 s" in line
    assert line.startswith("walk 5 of a.ca/minutes did not begin: ")
    assert "`pagestream backfill`" in line


def test_rows_that_were_refused_are_said_with_where_to_look(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = state(status="unverified", pages=100, rejected=1_200, barrier=5)
    report_failures([followed(ended, stored=Stored(created=97, dead_lettered=3, barrier=5))])
    (line,) = capsys.readouterr().err.splitlines()
    assert "1,203 of a.ca/minutes" in line
    assert "pagestream.dead_letter" in line
    report_failures([followed(ENDED, stored=Stored(created=100, barrier=5))])
    assert capsys.readouterr().err == ""


def test_a_walk_that_waits_behind_one_that_goes_on_is_not_over() -> None:
    going = state(walk=4, status="in_progress", pages=70, position=Position(phase="pages"))
    assert not followed(going, before=UNDER_WAY, waits=True).over
    assert not followed(ENDED, before=UNDER_WAY, waits=True, stored=Stored()).failed


def test_a_walk_that_began_after_a_failed_one_is_not_held_up_by_it() -> None:
    failed = state(walk=4, status="failed", position=Position(phase="pages"))
    assert not followed(failed, before=UNDER_WAY).over
    assert not followed(failed, GOING, before=UNDER_WAY, waits=True).over


def test_the_result_tells_what_became_of_the_pages() -> None:
    walk = followed(ENDED, stored=Stored(created=10, updated=20, unchanged=70, barrier=5))
    result = result_of(walk)
    assert (result.walk, result.status, result.pages, result.stored) == (5, "unverified", 100, 100)
    assert (result.created, result.updated, result.unchanged) == (10, 20, 70)
