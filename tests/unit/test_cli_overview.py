"""The overview of walks: what happens next, and what is wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pagestream.cli.overview import _next, _remarks, _share, _show
from schemas.walks import FollowUp, Position, WalkState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def state(**fields: Any) -> WalkState:
    return WalkState(**{"site": "a.ca", "kind": "minutes", "walk": 3} | fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        (
            {"next_walk_at": NOW + timedelta(hours=70), "next_walk_mode": "verify"},
            "verify in 2 d",
        ),
        ({"next_walk_at": NOW, "next_walk_mode": "auto"}, "auto now"),
        ({"follow_up": FollowUp(mode="full", rows=1000)}, "full after this"),
        ({"retry_at": NOW + timedelta(seconds=4), "attempt": 2}, "try 3, in 4 s"),
        ({"retry_at": NOW + timedelta(seconds=61), "refusals": 1}, "must wait, in 1 min"),
    ],
    ids=str,
)
def test_what_happens_next(fields: dict[str, Any], words: str) -> None:
    assert _next(state(**fields), NOW) == words


@pytest.mark.parametrize(
    ("fields", "share"),
    [
        ({"status": "pending", "walk": 0}, ""),
        ({"status": "cancelled"}, ""),
        ({"status": "removed"}, ""),
        ({"status": "unverified", "pages": 9}, "100%"),
        ({"status": "in_progress", "position": Position(phase="pages")}, "0%"),
        ({"status": "failed", "steps": 1, "position": Position(phase="pages")}, "unknown"),
    ],
    ids=str,
)
def test_how_far_it_is(fields: dict[str, Any], share: str) -> None:
    assert _share(state(**fields)) == share


def test_what_is_wrong_comes_before_what_else_is_to_be_said() -> None:
    assert _remarks(state(full_forced_after=2)) == "the next is a full one"
    assert "402 \\[x]" in _remarks(state(full_forced_after=2, error="402 [x]"))


def test_the_tables_are_counted_by_status(capsys: pytest.CaptureFixture[str]) -> None:
    _show([state(status="failed"), state(status="failed"), state(status="completed")])
    assert "3 tables: 2 failed, 1 completed" in capsys.readouterr().err
