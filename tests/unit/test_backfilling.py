"""When a followed walk is over, has failed, and is stored to its end."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pagestream import backfilling
from pagestream.backfilling import FollowedWalk, Stored, Wanted, request_for, result_of
from pagestream.cli.outcome import report_failures, show_results
from runtime.errors import NotDone
from schemas.commands import ResumeWalk, RetryWalk, StartWalk
from schemas.events import CommandAnswered
from schemas.walks import Position, WalkState

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
ENDED = state(
    status="unverified",
    pages=100,
    listed=100,
    barrier=5,
    listed_at=datetime(2026, 1, 1, tzinfo=UTC),
)
FAILED = state(status="failed", pages=60, error="timeout", position=Position(phase="pages"))


def test_a_walk_is_asked_for_after_the_newest_that_is_known() -> None:
    request = request_for(BEFORE, Wanted(rows=500, mode="verify"))
    assert isinstance(request, StartWalk)
    assert (request.after_walk, request.rows, request.mode) == (4, 500, "verify")
    assert request.table == BEFORE.table


@pytest.mark.parametrize("status", ["pending", "completed", "unverified", "cancelled", "held"])
def test_where_there_is_nothing_to_resume_a_walk_begins(status: str) -> None:
    request = request_for(state(status=status), Wanted(rows=500, resume=True))
    assert isinstance(request, StartWalk)


@pytest.mark.parametrize(("status", "command"), [("failed", RetryWalk), ("paused", ResumeWalk)])
def test_a_walk_that_stands_still_is_resumed_where_it_is(status: str, command: Any) -> None:
    stands = state(status=status, position=Position(phase="pages"))
    request = request_for(stands, Wanted(rows=500, resume=True))
    assert isinstance(request, command)
    assert request.walk == 5
    assert isinstance(request_for(stands, Wanted(rows=500)), StartWalk)


@pytest.mark.parametrize("status", ["in_progress", "verifying"])
def test_a_walk_that_goes_on_needs_nothing_to_be_resumed(status: str) -> None:
    assert request_for(state(status=status), Wanted(rows=500, resume=True)) is None


def answer(command: str, walk: int, answer: Any = "done") -> CommandAnswered:
    return CommandAnswered(
        site="a.ca",
        kind="minutes",
        command_id="c",
        command=command,
        sent_by="cli",
        answer=answer,
        reason="because",
        walk=walk,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("given", "number", "begun"),
    [
        (None, 5, True),
        (answer("RetryWalk", 5), 5, True),
        (answer("RetryWalk", 6), 6, False),
        (answer("ResumeWalk", 5), 5, True),
        (answer("StartWalk", 6), 6, False),
        (answer("StartWalk", 5), 6, False),
    ],
    ids=["goes-on", "retried", "looked-at-again", "resumed", "started", "waits"],
)
def test_the_answer_says_which_walk_to_follow(
    given: CommandAnswered | None,
    number: int,
    begun: bool,  # noqa: FBT001 - a parameter
) -> None:
    walk = backfilling.followed(GOING, given)
    assert walk.number == number
    assert (walk.state is not None) == begun
    assert walk.refusal is None


def test_a_walk_that_was_refused_is_a_failure_of_its_own() -> None:
    walk = backfilling.followed(BEFORE, answer("StartWalk", 4, "stale"))
    assert walk.failed
    with pytest.raises(NotDone, match=r"walk 5 of a\.ca/minutes did not begin: stale: because"):
        report_failures([walk])


def test_a_resumed_walk_is_not_over_because_it_stood_still_before() -> None:
    walk = backfilling.followed(FAILED, answer("RetryWalk", 5))
    assert not walk.over
    walk.see(FAILED)
    assert not walk.over, "a change of its schedule, before it was resumed"
    walk.see(state(status="in_progress", pages=60, position=Position(phase="pages")))
    assert not walk.over
    walk.see(FAILED)
    assert walk.over
    assert walk.failed


def test_the_walk_before_does_not_count() -> None:
    walk = followed(BEFORE)
    assert walk.state is None
    assert not walk.over
    assert not walk.everything_stored


def test_a_walk_that_goes_on_is_not_over() -> None:
    walk = followed(GOING)
    assert not walk.over
    assert walk.outlook().rows == 90


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
    assert "`pagestream backfill --resume`" in line


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
    assert (result.expected, result.actual, result.errors) == (100, 100, 0)


ENDED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "expected", "actual"),
    [
        ({"status": "completed", "expected": 98, "stored": 97}, 98, 97),
        ({"status": "unverified", "listed": 99, "listed_at": ENDED_AT}, 99, 60),
        ({"status": "unverified", "mode": "verify", "listed": 9, "listed_at": ENDED_AT}, 9, None),
        ({"status": "failed", "position": Position(phase="pages")}, None, 60),
    ],
    ids=["judged", "unjudged", "verify", "failed"],
)
def test_what_should_be_there_and_what_is(
    fields: dict[str, Any], expected: int | None, actual: int | None
) -> None:
    result = result_of(followed(state(**fields), stored=Stored(created=60)))
    assert (result.expected, result.actual) == (expected, actual)


def test_errors_are_rows_that_walker_or_sink_could_not_store() -> None:
    walk = followed(state(status="unverified", rejected=3), stored=Stored(dead_lettered=4))
    assert result_of(walk).errors == 7


def many(number: int, **fields: Any) -> FollowedWalk:
    before = WalkState(site=f"site{number}.ca", kind="minutes")
    walk = FollowedWalk(before)
    given = {"status": "unverified", "pages": 10 + number, "listed_at": ENDED_AT} | fields
    walk.see(WalkState(site=before.site, kind="minutes", walk=1, **given))
    walk.stored = Stored(created=10, deleted=1)
    return walk


def test_of_hundreds_of_walks_the_failed_and_the_largest_are_shown_and_the_sums(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = many(0, status="failed", error="timeout")
    show_results([*(many(number) for number in range(1, 500)), failed])
    written = capsys.readouterr()
    lines = written.out.splitlines()
    assert len(lines) < 30
    assert "site0.ca/minutes" in lines[3]
    assert "site499.ca/minutes" in lines[4]
    (sums,) = (line.split() for line in lines if "all 500" in line)
    assert sums[2:7] == ["5,000", "0", "0", "500", "0"]
    assert "20 of 500 walks are shown" in written.err
