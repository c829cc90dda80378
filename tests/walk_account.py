"""An account of one table's walks, kept from what is published alone: it knows nothing of `decide`.

It is told of each outcome in the order of the commits, and fails at the first that does not add up.
"""

from collections.abc import Iterator
from typing import Final

from producer.decide import Outcome
from schemas import events
from schemas.commands import Command, Request
from schemas.walks import Status, WalkState

ACTIVE: Final[frozenset[Status]] = frozenset({"in_progress", "paused"})
UNDECIDED: Final[frozenset[Status]] = ACTIVE | {"verifying"}
"""A walk that is one of these is not over."""

WAITS_FOR_SOMEBODY: Final[frozenset[Status]] = frozenset(
    {"pending", "paused", "failed", "cancelled", "completed", "unverified", "held", "removed"}
)
"""The statuses in which nothing happens until a person, or the next walk's time, has come."""

_VERIFIED: Final = {"balanced", "repaired", "incomplete", "absent"}
_REMEMBERED: Final = 16


class Account:
    """What was published of one table: its walks, steps, listings, barriers and answers.

    `source` are the ids of the site, in order: nothing changes there.
    """

    def __init__(self, source: tuple[str, ...]) -> None:
        self._source = source
        self._walk = 0
        self._mode = "full"
        self._steps = 0
        self._published: list[str] = []
        self._next: str | None = None
        self._listed: list[str] = []
        self._listed_all = False
        self._barrier = 0
        self._verdicts: dict[int, str] = {}
        self._done: list[str] = []

    def commit(self, before: WalkState, command: Command, outcome: Outcome) -> None:
        """Take in one outcome; AssertionError where it contradicts what was published before."""
        self._check_answers(before, command, outcome)
        for event in outcome.events:
            self._take(event)
        self._check_barrier(outcome)
        self._check_walks(before, outcome)
        self._check_pages(outcome)
        for state in _states(outcome):
            self._check_state(state)
        revisions = [before.revision, *(state.revision for state in _states(outcome))]
        if outcome.state == before:
            assert not outcome.pages
            assert outcome.barrier is None
        else:
            assert sorted(set(revisions)) == revisions, "a change without a new revision"

    def _take(self, event: events.Event) -> None:
        match event:
            case events.WalkStarted():
                assert event.walk == self._walk + 1, "walks are numbered one by one"
                self._walk, self._mode, self._steps = event.walk, event.mode, 0
                self._published, self._next = [], None
                self._listed, self._listed_all = [], False
            case events.StepWalked():
                self._take_step(event.walk, event.step)
                assert event.position.cursor == self._next, "each step begins where the last ended"
                self._next = event.next
                self._published += event.ids
            case events.SourceListed():
                self._take_step(event.walk, event.step)
                assert not self._listed_all, "a listing that went on after its end"
                if event.after is None:
                    self._listed = []
                else:
                    assert event.after == self._listed[-1], "the listing's chain is unbroken"
                self._listed += event.ids
                self._listed_all = event.last
            case events.WalkEnded():
                self._check_end(event)
            case events.VerdictGiven():
                assert event.walk == self._walk
                self._verdicts[event.walk] = event.verdict.outcome

    def _take_step(self, walk: int, step: int) -> None:
        assert (walk, step) == (self._walk, self._steps), "steps are contiguous, each taken once"
        self._steps += 1

    def _check_end(self, ended: events.WalkEnded) -> None:
        assert (ended.walk, ended.mode, ended.steps) == (self._walk, self._mode, self._steps)
        assert self._listed_all, "a walk that ended before its listing"
        assert tuple(self._listed) == self._source
        walked = () if ended.mode == "verify" else self._source
        assert tuple(self._published) == walked, "every row once per walk"
        assert ended.listed == len(self._source)

    def _check_barrier(self, outcome: Outcome) -> None:
        closing = [
            e for e in outcome.events if isinstance(e, events.WalkEnded | events.RowsAmended)
        ]
        numbers = [event.barrier for event in closing]
        if outcome.barrier is None:
            assert not numbers
        else:
            self._barrier += 1
            assert numbers == [self._barrier] == [outcome.barrier.number], "barriers are contiguous"
            assert outcome.barrier.walk == closing[0].walk
        assert all(state.barrier == self._barrier for state in _states(outcome))

    def _check_walks(self, before: WalkState, outcome: Outcome) -> None:
        started = [e for e in outcome.events if isinstance(e, events.WalkStarted)]
        assert len(started) == outcome.state.walk - before.walk <= 1
        if started:
            over = outcome.ended or before
            assert over.status not in UNDECIDED, "a walk began while another was under way"
            assert over.status != "removed"
        assert outcome.state.walk == self._walk

    def _check_pages(self, outcome: Outcome) -> None:
        steps = [e for e in outcome.events if isinstance(e, events.StepWalked)]
        amended = [e for e in outcome.events if isinstance(e, events.RowsAmended)]
        accounted = [page_id for step in steps for page_id in step.ids]
        deleted = []
        for repair in amended:
            accounted += [one.id for one in repair.amendments if one.row_hash is not None]
            deleted += [one.id for one in repair.amendments if one.row_hash is None]
        assert [page.id for page in outcome.pages] == accounted
        assert set(outcome.tombstones) <= set(deleted)

    def _check_state(self, state: WalkState) -> None:
        if state.status == "completed":
            assert self._verdicts.get(state.walk) in _VERIFIED, "completed without a verdict"
        if state.status in ACTIVE:
            assert state.steps == self._steps

    def _check_answers(self, before: WalkState, command: Command, outcome: Outcome) -> None:
        answers = [e for e in outcome.events if isinstance(e, events.CommandAnswered)]
        mine = [a for a in answers if isinstance(command, Request)
                and a.command_id == command.command_id]  # fmt: skip
        waiting = {repair.command_id for repair in before.repairs}
        still = {repair.command_id for repair in outcome.state.repairs}
        if isinstance(command, Request) and command.command_id not in waiting | still:
            assert len(mine) == 1, "a request is answered, once"
        others = {a.command_id for a in answers} - {a.command_id for a in mine}
        assert others <= waiting - still, "an answer to nobody"
        assert waiting - still <= {a.command_id for a in answers}, "a repair dropped unanswered"
        for done in [a for a in answers if a.answer == "done"]:
            assert done.command_id not in self._done[-_REMEMBERED:], "done twice"
            self._done.append(done.command_id)


def _states(outcome: Outcome) -> Iterator[WalkState]:
    if outcome.ended is not None:
        yield outcome.ended
    yield outcome.state
