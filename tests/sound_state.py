"""What every published state of a walk must be, whichever commands led to it."""

from typing import Final

from walk_account import ACTIVE, UNDECIDED

from producer.decide import Outcome, due
from producer.policy import Policy
from schemas.commands import Command, RecordVerdict, StartWalk, TakeStep
from schemas.walks import WalkState

RESTING: Final = ("pending", "failed", "cancelled", "completed", "unverified", "held")


def check_state(state: WalkState, policy: Policy) -> None:
    """Assert what every state that is published must be."""
    step = due(state)
    assert (state.status == "in_progress") <= isinstance(step, TakeStep), "nothing is due"
    assert (state.position is None) or state.status in ("in_progress", "paused", "failed")
    assert (state.status == "verifying") == (state.verdict_due_at is not None)
    assert (state.retry_at is None) or step is not None, "a retry of nothing"
    assert (state.retry_at is None) == (state.retry_seconds == 0)
    assert (state.next_walk_at is None) == (state.next_walk_mode is None)
    assert (state.next_walk_at is None) or state.status in RESTING, "two walks at a time"
    assert (state.follow_up is None) or state.status in (*UNDECIDED, "failed")
    assert (not state.repairs) or state.status not in (*ACTIVE, "pending", "cancelled", "removed")
    assert state.status not in UNDECIDED or state.ended_at is None
    assert 1 <= state.size <= state.rows
    assert state.attempt <= len(policy.retry_waits)
    assert len(state.recent) <= 16


def check_what_is_next(before: WalkState, outcome: Outcome) -> None:
    """Assert that the log gets what the state newly waits for, unless a timer brings it."""
    step = due(outcome.state)
    assert outcome.next_command in (None, step), "a step that is not due is given"
    if step is not None and step != due(before) and step.due_at is None:
        assert outcome.next_command == step, "what is due is not given"


def check_timer(before: WalkState, command: Command, outcome: Outcome) -> None:
    """Assert that a timer fires for the state that armed it, or for nothing."""
    armed_for = {StartWalk: before.next_walk_at, RecordVerdict: before.verdict_due_at}
    due_at = getattr(command, "due_at", None)
    if type(command) in armed_for and due_at not in (None, armed_for[type(command)]):
        assert outcome.state == before, "a timer fired for a state that is gone"
