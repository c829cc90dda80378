"""The requests that steer walks, and what is made of their answers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pagestream.controls import (
    CANCEL,
    FORCE_FULL,
    PAUSE,
    RESUME,
    RETRY,
    replies,
    schedule,
    start,
)
from pagestream.requests import addressed, check_answered
from producer.decide import decide
from producer.policy import Policy
from runtime.errors import Unavailable
from schemas.commands import ForceFull, PauseWalk, SetSchedule, StartWalk
from schemas.events import CommandAnswered
from schemas.walks import Position, Schedule, WalkState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEFAULT = Schedule(full_every=90.0, incremental_every=1.0, verify_every=7.0)
GOING = WalkState(
    site="a.ca",
    kind="minutes",
    revision=5,
    status="in_progress",
    walk=3,
    position=Position(phase="pages"),
)


@pytest.mark.parametrize("control", [PAUSE, RESUME, CANCEL, RETRY], ids=lambda one: one.word)
def test_a_control_names_the_walk_that_was_seen(control: Any) -> None:
    request = control.request(GOING)
    assert (request.walk, request.table) == (3, GOING.table)


def test_every_request_has_an_id_of_its_own() -> None:
    ids = {PAUSE.request(GOING).command_id for _ in range(100)}
    assert len(ids) == 100
    assert addressed(GOING.table)["sent_by"].startswith("cli")


def test_the_machine_does_what_a_control_asks() -> None:
    paused = decide(GOING, PAUSE.request(GOING), None, NOW, Policy()).state
    assert paused.status == "paused"
    resumed = decide(paused, RESUME.request(paused), None, NOW, Policy()).state
    assert (resumed.status, resumed.position) == ("in_progress", GOING.position)
    cancelled = decide(resumed, CANCEL.request(resumed), None, NOW, Policy()).state
    assert cancelled.status == "cancelled"


def test_a_walk_is_begun_after_the_one_that_was_seen() -> None:
    request = start("verify", 500).request(GOING)
    assert isinstance(request, StartWalk)
    assert (request.mode, request.rows, request.after_walk) == ("verify", 500, 3)
    assert isinstance(FORCE_FULL.request(GOING), ForceFull)


def scheduled(rhythms: Any, own: Schedule | None) -> Schedule | None:
    state = WalkState(site="a.ca", kind="minutes", schedule=own)
    request = schedule(rhythms, DEFAULT).request(state)
    assert isinstance(request, SetSchedule)
    return request.schedule


def test_what_is_not_given_of_a_schedule_stays_as_the_table_has_it() -> None:
    own = Schedule(full_every=5.0, incremental_every=None, verify_every=6.0)
    assert scheduled({"full_every": 2.0}, own) == Schedule(
        full_every=2.0, incremental_every=None, verify_every=6.0
    )
    assert scheduled({"full_every": None}, None) == Schedule(
        full_every=None, incremental_every=1.0, verify_every=7.0
    )


def test_the_default_is_no_schedule_of_its_own() -> None:
    assert scheduled(None, DEFAULT) is None


def test_a_request_without_an_answer_is_logged_all_the_same() -> None:
    first, second = PAUSE.request(GOING), PAUSE.request(GOING)
    answer = CommandAnswered(
        site="a.ca",
        kind="minutes",
        command_id=second.command_id,
        command="PauseWalk",
        sent_by="cli",
        answer="refused",
        reason="because",
        walk=3,
        at=NOW,
    )
    unanswered, refused = replies([first, second], {second.command_id: answer})
    assert (unanswered.answer, unanswered.failed, unanswered.reason) == ("unanswered", False, None)
    assert (refused.answer, refused.failed, refused.reason) == ("refused", True, "because")
    assert refused.command == PauseWalk.__name__
    check_answered([second], {second.command_id: answer})
    with pytest.raises(Unavailable, match="no walker has taken the request yet"):
        check_answered([first, second], {second.command_id: answer})
