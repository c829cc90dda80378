"""What a state waits for: one step, or one repair. Anything else of their kind is stale."""

from typing import Final

from producer.decide.outcome import FetchedCommand
from schemas.commands import Command, PrunePages, RefetchPages, TakeStep
from schemas.walks import Status, WaitingRepair, WalkState

REPAIRABLE: Final[frozenset[Status]] = frozenset({"verifying", "completed", "unverified", "held"})
"""The statuses in which a table is repaired: a walk came to its end, and no other has begun."""

_REPAIRS: Final[dict[str, type[RefetchPages | PrunePages]]] = {
    "refetch": RefetchPages,
    "prune": PrunePages,
}


def due(state: WalkState) -> FetchedCommand | None:
    """Return the one command for which this state would have the source asked, or None."""
    if state.status == "in_progress" and state.position is not None:
        return TakeStep(
            site=state.site,
            kind=state.kind,
            walk=state.walk,
            step=state.steps,
            attempt=state.attempt,
            position=state.position,
            rows=state.size,
            window=state.window,
            secret=state.secret,
            due_at=state.retry_at,
        )
    if state.status in REPAIRABLE and state.repairs:
        return _repair(state, state.repairs[0])
    return None


def _repair(state: WalkState, waiting: WaitingRepair) -> RefetchPages | PrunePages:
    return _REPAIRS[waiting.action](
        site=state.site,
        kind=state.kind,
        command_id=waiting.command_id,
        sent_by=waiting.sent_by,
        sent_at=waiting.sent_at,
        walk=state.walk,
        round=waiting.round,
        ids=waiting.ids,
        control_id=waiting.control_id,
        secret=state.secret,
        attempt=state.attempt,
        due_at=state.retry_at,
    )


def fetchable(state: WalkState, command: Command) -> bool:
    """Tell whether the source is to be asked for this command, at its turn."""
    return isinstance(command, FetchedCommand) and command == due(state)
