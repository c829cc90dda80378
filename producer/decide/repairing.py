"""Repairs: pages published again, or deleted, because the reconciler or a person named their ids.

1. A repair is accepted while no walk takes steps, and waits in the state; the first one is due.
2. It is fetched like a step, and retried like one.
3. Rows or tombstones, the amendment of the ledger, the next barrier and the answer are one
   transaction; then the next repair is due.
"""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from producer.decide.dueness import REPAIRABLE, due
from producer.decide.outcome import (
    NOTHING_TO_RETRY,
    Outcome,
    accept,
    answered,
    change,
    refused,
    stale,
)
from producer.policy import Policy
from producer.responses import Failure, RepairResponse
from schemas.commands import PrunePages, RefetchPages
from schemas.events import Amendment, CommandAnswered, RowsAmended
from schemas.records import WalkBarrier
from schemas.walks import WaitingRepair, WalkState

MOST_IDS: Final = 300
MOST_WAITING: Final = 100

Repair = RefetchPages | PrunePages


def accept_repair(state: WalkState, command: Repair, now: datetime) -> Outcome:
    """Have a repair wait for its turn, which may come at once; it is answered when it is made.

    The retry of one that is due no longer was answered already.
    """
    if command.attempt or command.due_at is not None:
        return Outcome(state=state)
    if command.walk != state.walk:
        reason = f"meant for walk {command.walk}, but walk {state.walk} is the newest"
        return stale(state, command, reason, now)
    if any(waiting.command_id == command.command_id for waiting in state.repairs):
        return Outcome(state=state)
    if (rule := _forbidden(state, command)) is not None:
        return refused(state, command, rule, now)
    waiting = change(state, now, repairs=(*state.repairs, _waiting(command)))
    first = len(waiting.repairs) == 1
    return Outcome(state=waiting, next_command=due(waiting) if first else None)


def _forbidden(state: WalkState, command: Repair) -> str | None:
    if state.status not in REPAIRABLE:
        return f"walk {state.walk} is {state.status}: send it again when it has come to its end"
    if not 1 <= len(command.ids) <= MOST_IDS:
        return f"{len(command.ids)} ids: one to {MOST_IDS} can be asked for at once"
    if len(state.repairs) >= MOST_WAITING:
        return f"{MOST_WAITING} repairs wait already: send it again when they are made"
    return None


def _waiting(command: Repair) -> WaitingRepair:
    return WaitingRepair(
        action="prune" if isinstance(command, PrunePages) else "refetch",
        command_id=command.command_id,
        sent_by=command.sent_by,
        sent_at=command.sent_at,
        round=command.round,
        ids=command.ids,
        control_id=command.control_id,
    )


def _due(state: WalkState) -> Repair:
    command = due(state)
    if not isinstance(command, Repair):  # only a state with a due repair comes here
        raise TypeError(f"{state.table.key} has no repair under way")
    return command


def repair(state: WalkState, response: RepairResponse, now: datetime, policy: Policy) -> Outcome:
    """Publish what the source has under the ids of the repair that is due, before its barrier."""
    command = _due(state)
    repaired = accept(
        state,
        command,
        now,
        **NOTHING_TO_RETRY,
        error=None,
        repairs=state.repairs[1:],
        barrier=state.barrier + 1,
        pages=state.pages + len(response.pages),
        rejected=state.rejected + len(response.rejected),
        held_rows=state.held_rows or bool(response.pages),
        verdict_due_at=policy.verdict_by(now) if state.status == "verifying" else None,
    )
    number = repaired.barrier
    amended = RowsAmended(
        site=state.site,
        kind=state.kind,
        command_id=command.command_id,
        walk=state.walk,
        round=command.round,
        barrier=number,
        amendments=_amendments(response),
        at=now,
    )
    found = f"{len(response.pages)} of {len(command.ids)} are there"
    return Outcome(
        state=repaired,
        events=(amended, answered(repaired, command, "done", found, now)),
        next_command=due(repaired),
        pages=response.pages,
        tombstones=response.absent if isinstance(command, PrunePages) else (),
        dead_letters=response.rejected,
        barrier=WalkBarrier(
            site=state.site, kind=state.kind, number=number, walk=state.walk, at=now
        ),
    )


def _amendments(response: RepairResponse) -> tuple[Amendment, ...]:
    there = [Amendment(id=page.id, row_hash=page.row_hash) for page in response.pages]
    return (*there, *[Amendment(id=gone) for gone in response.absent])


def give_up(state: WalkState, failure: Failure, now: datetime) -> Outcome:
    """Refuse a repair that failed in all its tries, and for which no verdict waits.

    It is remembered like one that was made: copies of it may still be in the log.
    """
    command = _due(state)
    left = accept(
        state,
        command,
        now,
        **NOTHING_TO_RETRY,
        repairs=state.repairs[1:],
        error=None,
        last_error=failure.error,
    )
    answer = answered(left, command, "refused", failure.error, now)
    return replace(Outcome(state=left, events=(answer,)), next_command=due(left))


def dropped(state: WalkState, now: datetime) -> tuple[CommandAnswered, ...]:
    """Return the answers to the repairs that will not be made: their walk is over."""
    return tuple(
        CommandAnswered(
            site=state.site,
            kind=state.kind,
            command_id=waiting.command_id,
            command="PrunePages" if waiting.action == "prune" else "RefetchPages",
            sent_by=waiting.sent_by,
            answer="stale",
            reason=f"walk {state.walk} is over",
            walk=state.walk,
            at=now,
        )
        for waiting in state.repairs
    )
