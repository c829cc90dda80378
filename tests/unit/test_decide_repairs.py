"""Repairs: accepted between walks, made one after another, retried, and dropped with their walk."""

from typing import Any

import pytest
from deciding import (
    ALONE,
    JUDGED,
    NOW,
    answer,
    answers,
    failure,
    found,
    give,
    names,
    page_id,
    pages,
    request,
    said,
    started,
    take,
    verdict,
    walked,
)
from msgspec.structs import replace

from producer.decide import Outcome, decide, due, fetchable, timers
from schemas import events
from schemas.commands import CancelWalk, PrunePages, RefetchPages, RetryWalk, StartWalk
from schemas.walks import WalkState

IDS = (page_id(1), page_id(2), page_id(3))


def waiting() -> WalkState:
    return walked(started(JUDGED), JUDGED).state


def repair(command: Any = RefetchPages, **fields: Any) -> Any:
    return request(
        command, **{"walk": 1, "round": 1, "ids": IDS, "control_id": page_id(0)} | fields
    )


def test_a_repair_is_accepted_and_then_due() -> None:
    command = repair()
    assert not fetchable(waiting(), command)
    accepted = give(waiting(), command, JUDGED)
    assert not accepted.events, "it is answered when it is made"
    assert accepted.next_command == due(accepted.state)
    assert accepted.next_command is not None
    assert accepted.next_command.command_id == command.command_id  # type: ignore[union-attr]
    assert fetchable(accepted.state, accepted.next_command)


def test_pages_found_are_published_before_the_next_barrier_and_accounted_for() -> None:
    accepted = give(waiting(), repair(), JUDGED).state
    outcome = take(accepted, found(range(1, 3), range(3, 4)), JUDGED)
    assert names(outcome) == ["RowsAmended", "CommandAnswered"]
    amended = outcome.events[0]
    assert isinstance(amended, events.RowsAmended)
    assert [(a.id, a.row_hash) for a in amended.amendments] == [
        (IDS[0], 7),
        (IDS[1], 14),
        (IDS[2], None),
    ]
    assert [page.id for page in outcome.pages] == list(IDS[:2])
    assert outcome.tombstones == (), "what is gone is for PrunePages to delete"
    assert outcome.barrier is not None
    assert (outcome.barrier.number, amended.barrier, outcome.state.barrier) == (2, 2, 2)
    assert outcome.state.repairs == ()
    assert (said(outcome), outcome.next_command) == ("done", None)


def test_pages_that_are_gone_are_pruned_and_those_that_are_there_published() -> None:
    accepted = give(waiting(), repair(PrunePages), JUDGED).state
    outcome = take(accepted, found(range(1, 2), range(2, 4)), JUDGED)
    assert outcome.tombstones == IDS[1:]
    assert [page.id for page in outcome.pages] == [IDS[0]]


def test_repairs_are_made_one_after_another() -> None:
    first, second = repair(), repair(PrunePages)
    state = give(waiting(), first, JUDGED).state
    accepted = give(state, second, JUDGED)
    assert accepted.next_command is None
    outcome = take(accepted.state, found(range(1, 4)), JUDGED)
    assert answer(outcome).command_id == first.command_id
    assert outcome.next_command == due(outcome.state)
    outcome = take(outcome.state, found(range(1, 4)), JUDGED)
    assert answer(outcome).command_id == second.command_id
    assert outcome.state.barrier == 3


def test_a_repair_that_comes_twice_is_made_once() -> None:
    command = repair()
    accepted = give(waiting(), command, JUDGED).state
    assert give(accepted, command, JUDGED) == Outcome(state=accepted)
    made = take(accepted, found(range(1, 4)), JUDGED).state
    again = give(made, command, JUDGED)
    assert (said(again), again.state) == ("stale", made)


def test_a_repair_is_refused_while_a_walk_takes_steps() -> None:
    for state in (started(JUDGED), take(started(JUDGED), failure("refused"), JUDGED).state):
        outcome = give(state, repair(), JUDGED)
        assert (said(outcome), outcome.state) == ("refused", state)


@pytest.mark.parametrize("ids", [(), tuple(page_id(n) for n in range(301))], ids=["none", "301"])
def test_a_repair_of_no_or_too_many_ids_is_refused(ids: tuple[str, ...]) -> None:
    assert said(give(waiting(), repair(ids=ids), JUDGED)) == "refused"


def test_a_repair_of_another_walk_is_stale() -> None:
    assert said(give(waiting(), repair(walk=2), JUDGED)) == "stale"


def test_a_table_is_repaired_although_nobody_judges_its_walks() -> None:
    unverified = walked(started()).state
    accepted = give(unverified, repair()).state
    outcome = take(accepted, found(range(1, 4)))
    assert (outcome.state.status, said(outcome)) == ("unverified", "done")


def test_no_more_than_a_hundred_repairs_wait() -> None:
    state = waiting()
    for _ in range(100):
        state = give(state, repair(), JUDGED).state
    assert said(give(state, repair(), JUDGED)) == "refused"


def test_a_repair_that_fails_is_tried_again_and_then_fails_the_walk_that_waits_for_it() -> None:
    state = give(waiting(), repair(), JUDGED).state
    for number in range(3):
        outcome = take(state, failure(), JUDGED)
        state = outcome.state
        assert (state.status, state.attempt) == ("verifying", number + 1)
        (timer,) = timers(state, JUDGED)
        assert timer.command == due(state)
    failed = take(state, failure(), JUDGED)
    assert failed.state.status == "failed"
    (event,) = failed.events
    assert isinstance(event, events.WalkFailed)
    assert event.command_id == state.repairs[0].command_id
    assert due(failed.state) is None
    retried = give(failed.state, request(RetryWalk, walk=1), JUDGED)
    assert retried.state.status == "verifying"
    assert retried.next_command == due(retried.state)


def test_a_repair_that_waits_to_be_tried_again_is_tried_at_once() -> None:
    for state, policy in ((waiting(), JUDGED), (walked(started()).state, ALONE)):
        accepted = give(state, repair(), policy).state
        told_to_wait = take(accepted, failure("rate_limited"), policy).state
        assert told_to_wait.retry_at is not None
        outcome = give(told_to_wait, request(RetryWalk, walk=1), policy)
        assert (said(outcome), outcome.state.status) == ("done", state.status)
        assert outcome.state.ended_at == state.ended_at
        assert outcome.next_command == due(outcome.state) == due(accepted)


def test_a_repair_that_fails_where_nobody_waits_is_refused_and_the_next_is_due() -> None:
    state = walked(started()).state
    state = give(give(state, repair()).state, repair(PrunePages)).state
    outcome = take(state, failure("refused"))
    assert (said(outcome), outcome.state.status) == ("refused", "unverified")
    assert outcome.next_command == due(outcome.state)
    assert len(outcome.state.repairs) == 1


@pytest.mark.parametrize("ended_by", ["cancel", "start", "verdict"])
def test_repairs_that_wait_are_answered_when_their_walk_is_over(ended_by: str) -> None:
    command = repair()
    state = give(waiting(), command, JUDGED).state
    match ended_by:
        case "cancel":
            outcome = give(state, request(CancelWalk, walk=1), JUDGED)
        case "verdict":
            outcome = give(state, verdict(state, "torn"), JUDGED)
        case _:
            resting = give(walked(started()).state, command).state
            outcome = give(resting, request(StartWalk))
    assert outcome.state.repairs == ()
    assert ("stale", command.command_id) in [
        (one.answer, one.command_id) for one in answers(outcome)
    ]


def test_a_late_repair_step_changes_nothing() -> None:
    state = give(waiting(), repair(), JUDGED).state
    step = due(state)
    assert step is not None
    cancelled = give(state, request(CancelWalk, walk=1), JUDGED).state
    outcome = decide(cancelled, step, found(range(1, 4)), NOW, ALONE)
    assert outcome.state == cancelled
    assert not outcome.pages


def test_a_response_of_pages_cannot_be_taken_for_a_repair() -> None:
    state = give(waiting(), repair(), JUDGED).state
    with pytest.raises(ValueError, match="no step under way"):
        take(state, pages(range(1)), JUDGED)


def test_a_second_copy_of_the_last_try_does_not_begin_a_repair_again() -> None:
    state = give(walked(started()).state, repair()).state
    for _ in range(3):
        state = take(state, failure("timeout")).state
    last = due(state)
    assert last is not None
    outcome = take(state, failure("timeout"))
    assert said(outcome) == "refused"
    again = decide(outcome.state, last, None, NOW, ALONE)
    assert (again.state, again.next_command) == (outcome.state, None)
    assert said(again) == "stale"


def test_a_copy_of_a_repair_whose_walk_was_judged_is_not_made() -> None:
    state = give(waiting(), repair(), JUDGED).state
    copy = due(state)
    assert copy is not None
    judged = give(state, verdict(state, "balanced"), JUDGED)
    assert judged.state.status == "completed"
    again = give(judged.state, copy, JUDGED)
    assert (said(again), again.state) == ("stale", judged.state)


def test_a_retry_that_is_due_no_longer_is_not_a_new_repair() -> None:
    state = take(give(walked(started()).state, repair()).state, failure("timeout")).state
    retry = due(state)
    assert retry is not None
    forgotten = replace(take(state, found(range(1, 4))).state, recent=())
    assert decide(forgotten, retry, None, NOW, ALONE) == Outcome(state=forgotten)


def test_a_verdict_leaves_nothing_to_retry_to_the_next_repair() -> None:
    state = give(waiting(), repair(), JUDGED).state
    for _ in range(3):
        state = take(state, failure("timeout"), JUDGED).state
    state = give(state, verdict(state, "balanced"), JUDGED).state
    assert (state.attempt, state.retry_at, state.retry_seconds) == (0, None, 0.0)
    state = give(state, repair(), JUDGED).state
    assert take(state, failure("timeout"), JUDGED).state.attempt == 1
