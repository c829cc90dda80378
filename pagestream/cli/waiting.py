"""Words for a walk that waits: for the source to answer again, or for the next try."""

from datetime import datetime

from pagestream.cli.screen import until
from schemas.walks import WalkState


def what_is_tried(state: WalkState) -> str:
    """Return what a walk that waits will do at its `retry_at`."""
    if state.refusals:
        return "must wait"
    return f"try {state.attempt + 1}"


def why_it_waits(state: WalkState, now: datetime) -> str | None:
    """Return when a walk asks the source again, and why not now; None where it does not wait."""
    if state.retry_at is None:
        return None
    because = f": {state.error}" if state.error else ""
    return f"{what_is_tried(state)}, {until(state.retry_at, now)}{because}"
