"""The state machine's door: what any command makes of any state."""

from datetime import datetime

from producer.decide.controlling import cancel, pause, resume, retry
from producer.decide.dueness import due
from producer.decide.failing import fail
from producer.decide.judging import approve, record_verdict, reject, still_waiting
from producer.decide.outcome import FetchedCommand, Outcome, refused, stale
from producer.decide.repairing import accept_repair, repair
from producer.decide.sites import add_site, force_full, remove_site, set_schedule
from producer.decide.starting import start_walk
from producer.decide.stepping import list_ids, walk_pages
from producer.policy import Policy
from producer.responses import (
    Failure,
    Fetched,
    ListingResponse,
    PagesResponse,
    RepairResponse,
)
from schemas.commands import (
    AddSite,
    ApproveVerdict,
    CancelWalk,
    Command,
    ForceFull,
    PauseWalk,
    PrunePages,
    RecordVerdict,
    RefetchPages,
    RejectVerdict,
    RemoveSite,
    Request,
    ResumeWalk,
    RetryWalk,
    SetSchedule,
    StartWalk,
    StillWaiting,
)
from schemas.walks import WalkState


def decide(
    state: WalkState, command: Command, fetched: Fetched | None, now: datetime, policy: Policy
) -> Outcome:
    """Return what `command` makes of `state`.

    `fetched` is what the source answered; only a command that is due is ever fetched. A step that
    is not due changes nothing: it is a double, or comes from a walk that has gone on. A Failure
    with any other request means that Kafka does not take what would follow from it.
    """
    if isinstance(command, FetchedCommand) and command == due(state):
        return Outcome(state=state) if fetched is None else _take(state, fetched, now, policy)
    if isinstance(command, StillWaiting):
        return still_waiting(state, command, now, policy)
    if isinstance(command, Request):
        return _answer(state, command, fetched, now, policy)
    return Outcome(state=state)


def _take(state: WalkState, fetched: Fetched, now: datetime, policy: Policy) -> Outcome:
    match fetched:
        case Failure():
            return fail(state, fetched, now, policy)
        case PagesResponse():
            return walk_pages(state, fetched, now)
        case ListingResponse():
            return list_ids(state, fetched, now, policy)
        case RepairResponse():
            return repair(state, fetched, now, policy)


def _answer(
    state: WalkState, command: Request, fetched: Fetched | None, now: datetime, policy: Policy
) -> Outcome:
    if command.command_id in state.recent:
        return stale(state, command, "it was answered already", now)
    if (reason := _forbidden(state, command, fetched)) is not None:
        return refused(state, command, reason, now)
    for do in (_to_the_site, _to_the_walk, _for_the_verdict):
        if (outcome := do(state, command, now, policy)) is not None:
            return outcome
    reason = f"this version of pagestream does not know how to do {type(command).__name__}"
    return refused(state, command, reason, now)


def _forbidden(state: WalkState, command: Request, fetched: Fetched | None) -> str | None:
    if isinstance(fetched, Failure):
        return fetched.error
    if isinstance(command, AddSite):
        return None
    if state.revision == 0:
        return f"site {state.site} is not known: add it first"
    if state.status == "removed" and not isinstance(command, RemoveSite):
        return f"site {state.site} was removed: add it again"
    return None


def _to_the_site(
    state: WalkState, command: Request, now: datetime, policy: Policy
) -> Outcome | None:
    match command:
        case AddSite():
            return add_site(state, command, now, policy)
        case RemoveSite():
            return remove_site(state, command, now)
        case ForceFull():
            return force_full(state, command, now)
        case SetSchedule():
            return set_schedule(state, command, now, policy)
    return None


def _to_the_walk(
    state: WalkState, command: Request, now: datetime, policy: Policy
) -> Outcome | None:
    match command:
        case StartWalk():
            return start_walk(state, command, now, policy)
        case PauseWalk():
            return pause(state, command, now)
        case ResumeWalk():
            return resume(state, command, now)
        case CancelWalk():
            return cancel(state, command, now, policy)
        case RetryWalk():
            return retry(state, command, now, policy)
    return None


def _for_the_verdict(
    state: WalkState, command: Request, now: datetime, policy: Policy
) -> Outcome | None:
    match command:
        case RefetchPages() | PrunePages():
            return accept_repair(state, command, now)
        case RecordVerdict():
            return record_verdict(state, command, now, policy)
        case ApproveVerdict():
            return approve(state, command, now, policy)
        case RejectVerdict():
            return reject(state, command, now, policy)
    return None
