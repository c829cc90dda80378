"""What an operator may have done to walks, as one request for each table, sent all together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args

import msgspec
from msgspec.structs import replace

from pagestream.requests import addressed
from pagestream.targets import Applies
from schemas.commands import (
    CancelWalk,
    ForceFull,
    PauseWalk,
    Request,
    ResumeWalk,
    RetryWalk,
    SetSchedule,
    StartWalk,
)
from schemas.events import CommandAnswered
from schemas.tables import Kind
from schemas.walks import RequestedMode, Schedule, Status, WalkState

STATUSES: Final[tuple[Status, ...]] = get_args(Status)

_KNOWN: Final = frozenset(STATUSES) - {"removed"}


class Control(NamedTuple):
    """A command's word, the tables that it is meant for, and its request for one of them."""

    word: str
    applies: Applies
    request: Callable[[WalkState], Request]


def _pause(state: WalkState) -> PauseWalk:
    return PauseWalk(**addressed(state.table), walk=state.walk)


def _resume(state: WalkState) -> ResumeWalk:
    return ResumeWalk(**addressed(state.table), walk=state.walk)


def _cancel(state: WalkState) -> CancelWalk:
    return CancelWalk(**addressed(state.table), walk=state.walk)


def _retry(state: WalkState) -> RetryWalk:
    return RetryWalk(**addressed(state.table), walk=state.walk)


def _force_full(state: WalkState) -> ForceFull:
    return ForceFull(**addressed(state.table))


PAUSE: Final = Control("pause", Applies({"in_progress"}, {"paused"}), _pause)
RESUME: Final = Control("resume", Applies({"paused"}, {"in_progress"}), _resume)
CANCEL: Final = Control(
    "cancel",
    Applies({"in_progress", "paused", "failed", "verifying", "held"}, {"cancelled"}),
    _cancel,
)
RETRY: Final = Control("retry", Applies({"failed"}, {"in_progress"}), _retry)
FORCE_FULL: Final = Control("force-full", Applies(_KNOWN), _force_full)


def start(mode: RequestedMode, rows: int) -> Control:
    """Return the control that begins a walk after the newest one that is known."""

    def request(state: WalkState) -> StartWalk:
        return StartWalk(**addressed(state.table), mode=mode, rows=rows, after_walk=state.walk)

    return Control("start", Applies(_KNOWN), request)


def schedule(rhythms: Mapping[str, float | None] | None, default: Schedule) -> Control:
    """Return the control that sets schedules; None gives tables that of the settings again.

    `rhythms` are the fields of a Schedule that change; the others stay as the table has them, or
    as in `default` where it has none of its own.
    """

    def request(state: WalkState) -> SetSchedule:
        wanted = None if rhythms is None else replace(state.schedule or default, **rhythms)
        return SetSchedule(**addressed(state.table), schedule=wanted)

    return Control("schedule", Applies(_KNOWN), request)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request for one table; `unanswered`: it is logged, and will be done."""

    site: str
    kind: Kind
    answer: Literal["done", "refused", "stale", "unanswered"]
    reason: str | None
    walk: int | None
    command: str
    command_id: str

    @property
    def failed(self) -> bool:
        """Whether what was asked for will not be done."""
        return self.answer in ("refused", "stale")


def replies(requests: Sequence[Request], answers: Mapping[str, CommandAnswered]) -> list[Reply]:
    """Return what became of each request, in their order."""
    return [_reply(request, answers.get(request.command_id)) for request in requests]


def _reply(request: Request, answer: CommandAnswered | None) -> Reply:
    return Reply(
        site=request.site,
        kind=request.kind,
        answer="unanswered" if answer is None else answer.answer,
        reason=None if answer is None else answer.reason,
        walk=None if answer is None else answer.walk,
        command=type(request).__name__,
        command_id=request.command_id,
    )
