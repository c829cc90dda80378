"""When a followed walk is over, has failed, and is stored to its end."""

from typing import Any

import pytest

from pagestream.backfilling import FollowedWalk, Stored, result_of, start_walks
from schemas.tables import Table
from schemas.walks import Position, WalkState

TABLE = Table("a.ca", "minutes")
BEFORE = WalkState(site="a.ca", kind="minutes", status="unverified", walk=4, pages=90, barrier=4)


def state(**fields: Any) -> WalkState:
    return WalkState(**{"site": "a.ca", "kind": "minutes", "walk": 5, "barrier": 4} | fields)


def followed(*states: WalkState, stored: Stored | None = None) -> FollowedWalk:
    walk = FollowedWalk(BEFORE)
    for second, each in enumerate(states):
        walk.see(each, float(second))
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


def test_a_walk_that_was_followed_by_another_is_over_one_barrier_later() -> None:
    next_walk = state(walk=6, status="in_progress", barrier=5, position=Position(phase="pages"))
    walk = followed(GOING, next_walk, stored=Stored(created=100, barrier=4))
    assert walk.over
    assert not walk.everything_stored
    walk.stored = Stored(created=100, barrier=5)
    assert walk.everything_stored
    assert walk.state == GOING


def test_the_result_tells_what_became_of_the_pages() -> None:
    walk = followed(ENDED, stored=Stored(created=10, updated=20, unchanged=70, barrier=5))
    result = result_of(walk)
    assert (result.walk, result.status, result.pages, result.stored) == (5, "unverified", 100, 100)
    assert (result.created, result.updated, result.unchanged) == (10, 20, 70)
