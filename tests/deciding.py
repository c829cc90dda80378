"""A table and its walks without a log: states, requests, responses, and what is decided of them."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from producer.decide import Outcome, decide, due
from producer.policy import Policy
from producer.responses import (
    Failure,
    Fetched,
    ListingResponse,
    PagesResponse,
    RepairResponse,
)
from schemas import events
from schemas.commands import Command, RecordVerdict, Request, StartWalk
from schemas.records import Page
from schemas.verdicts import Verdict
from schemas.walks import WalkState

NOW: Final = datetime(2026, 5, 4, 12, tzinfo=UTC)
KNOWN: Final = WalkState(
    site="alameda.ca", kind="minutes", revision=1, added_at=NOW, updated_at=NOW
)
ALONE: Final = Policy()
"""Nobody judges walks."""

JUDGED: Final = Policy(verdict_timeout=900.0)

_numbers = iter(range(10**9))


def request(command: type[Request], **fields: Any) -> Any:
    """Return a request for the table, with an id of its own."""
    usual: dict[str, Any] = {
        "site": KNOWN.site,
        "kind": KNOWN.kind,
        "command_id": f"c{next(_numbers)}",
        "sent_by": "test",
        "sent_at": NOW,
    }
    return command(**(usual | fields))


def page_id(number: int) -> str:
    return f"{number:012x}"


def page(number: int, row_hash: int | None = None, **fields: Any) -> Page:
    return Page(
        site="alameda.ca",
        kind="minutes",
        id=page_id(number),
        page=number,
        row_hash=number * 7 if row_hash is None else row_hash,
        hash_version=1,
        walk=1,
        step=0,
        **fields,
    )


def pages(numbers: range, following: str | None = None) -> PagesResponse:
    return PagesResponse(
        pages=tuple(page(number) for number in numbers),
        rejected=(),
        next=following,
        last_id=page_id(numbers[-1]) if numbers else None,
        requested_at=NOW,
        seconds=0.25,
    )


def listing(
    numbers: range, following: str | None = None, after: str | None = None
) -> ListingResponse:
    return ListingResponse(
        ids=tuple(page_id(number) for number in numbers),
        after=after,
        listed_by="paging",
        next=following,
        last=following is None,
        requested_at=NOW + timedelta(seconds=5),
        seconds=0.1,
    )


def found(there: range, absent: range = range(0)) -> RepairResponse:
    return RepairResponse(
        pages=tuple(page(number) for number in there),
        rejected=(),
        absent=tuple(page_id(number) for number in absent),
        requested_at=NOW,
        seconds=0.1,
    )


def failure(reason: str = "timeout", retry_after: float | None = None) -> Failure:
    return Failure(reason=reason, error=f"it was {reason}", retry_after=retry_after)


def give(
    state: WalkState, command: Command, policy: Policy = ALONE, now: datetime = NOW
) -> Outcome:
    """Decide a command for which nothing is fetched."""
    return decide(state, command, None, now, policy)


def take(
    state: WalkState, fetched: Fetched, policy: Policy = ALONE, now: datetime = NOW
) -> Outcome:
    """Decide what is due, with what came back for it."""
    command = due(state)
    assert command is not None
    return decide(state, command, fetched, now, policy)


def started(policy: Policy = ALONE, known: WalkState = KNOWN, **fields: Any) -> WalkState:
    """Return the state in which a walk has begun."""
    return give(known, request(StartWalk, **fields), policy).state


def walked(state: WalkState, policy: Policy = ALONE, numbers: range = range(3)) -> Outcome:
    """Return the end of the walk under way: one response of pages, and the listing."""
    if state.position is not None and state.position.phase == "pages":
        state = take(state, pages(numbers), policy).state
    return take(state, listing(numbers), policy)


def verdict(state: WalkState, outcome: Any, **fields: Any) -> RecordVerdict:
    """Return the verdict of a walk that waits for one."""
    judged = Verdict(outcome=outcome, as_of=state.listed_at, expected=3, stored=3, reason=outcome)
    given: RecordVerdict = request(
        RecordVerdict,
        **{"walk": state.walk, "round": 0, "barrier": state.barrier, "verdict": judged} | fields,
    )
    return given


def verified(known: WalkState = KNOWN) -> WalkState:
    """Return the state of a table whose full walk was verified."""
    waiting = walked(started(JUDGED, known, mode="full"), JUDGED).state
    return give(waiting, verdict(waiting, "balanced"), JUDGED).state


def names(outcome: Outcome) -> list[str]:
    return [type(event).__name__ for event in outcome.events]


def answers(outcome: Outcome) -> list[events.CommandAnswered]:
    return [event for event in outcome.events if isinstance(event, events.CommandAnswered)]


def answer(outcome: Outcome) -> events.CommandAnswered:
    (answered,) = answers(outcome)
    return answered


def said(outcome: Outcome) -> str:
    """Return the answer to a request, in one word."""
    return answer(outcome).answer
