"""The walk's state machine under anything that a log can bring: doubled, stale, late and reordered.

A log of commands is made up and decided, one by one, against a site that does not change. Requests
come at any time. What the walker gives itself - the next step, what a timer fires, what it heals,
what it puts back - comes at any time too, twice, or long after it was due. Between any two commits
the process may die: every decision is made a second time, from what was published.
"""

from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, get_args

import pytest
from deciding import ALONE, JUDGED, NOW, page, request
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace
from sound_state import check_state, check_timer, check_what_is_next
from unchanging_site import ANSWERS, SOUND, respond
from walk_account import WAITS_FOR_SOMEBODY, Account

from producer.decide import FetchedCommand, Outcome, decide, due, fetchable, timers
from producer.policy import Policy
from producer.responses import Fetched
from schemas import commands
from schemas.codec import decode, encode, type_header
from schemas.commands import (
    Command,
    PrunePages,
    RecordVerdict,
    RefetchPages,
    StartWalk,
    StillWaiting,
    TakeStep,
)
from schemas.message import Message
from schemas.records import Municipality
from schemas.verdicts import Outcome as Found
from schemas.verdicts import Verdict
from schemas.walks import Schedule, Status, WalkState

SITE, KIND = "alameda.ca", "minutes"
OUTCOMES: Final = get_args(Found)
FITTING: Final[dict[Status, type[commands.Request]]] = {
    "in_progress": commands.PauseWalk,
    "paused": commands.ResumeWalk,
    "failed": commands.RetryWalk,
}
DAILY: Final = Schedule(full_every=86_400 * 30, incremental_every=86_400, verify_every=86_400 * 7)
SCHEDULED: Final = Policy(verdict_timeout=900.0, schedule=DAILY)
MOST_TURNS_OF_ONE_WALK: Final = 20
MOST_TURNS_TO_BE_QUIET: Final = 400

aims = st.sampled_from([0, 0, 0, 0, -1, 1])
"""Which walk a request means, from the newest: mostly that one."""


def as_published(message: Any) -> Any:
    """Return a message as it is read back from the log."""
    read: Message = decode(type_header(type(message)), encode(message))
    return read


class Walks(RuleBasedStateMachine):
    """One table, its log and all that may be written to it."""

    policy: ClassVar[Policy] = ALONE
    decide = staticmethod(decide)
    fetchable = staticmethod(fetchable)

    def __init__(self) -> None:
        super().__init__()
        self.state = WalkState(site=SITE, kind=KIND)
        self.now = NOW
        self.log: list[Command] = []
        self.offset = 0
        self.inputs: list[tuple[Command, Fetched | None, datetime]] = []
        self.source: tuple[str, ...] = ()
        self.account = Account(())

    @initialize(rows=st.integers(0, 7), known=st.sampled_from([True, True, True, False]))
    def begin(self, rows: int, known: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        self.source = tuple(page(number).id for number in range(rows))
        self.account = Account(self.source)
        if known:
            self.add(SITE, None)
            self.start("auto", 3, 0)
            self.turn(SOUND)
            self.turn(SOUND)

    # What somebody asks for

    def ask(self, command: type[commands.Request], **fields: Any) -> None:
        self.log.append(as_published(request(command, sent_at=self.now, **fields)))

    @rule(site=st.sampled_from([SITE, SITE, "berkeley.ca"]), secret=st.sampled_from([None, "own"]))
    def add(self, site: str, secret: str | None) -> None:
        self.ask(commands.AddSite, municipality=Municipality(site=site), secret=secret)

    @precondition(lambda self: len(self.log) % 7 == 0)  # now and then
    @rule(flagged=st.booleans())
    def remove(self, flagged: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        record = Municipality(site=SITE, removed=True) if flagged else None
        self.ask(commands.RemoveSite, municipality=record)

    @rule(
        mode=st.sampled_from(["auto", "full", "incremental", "verify"]),
        rows=st.sampled_from([1, 3, 200, 0]),
        after=st.sampled_from([None, 0, -1]),
    )
    def start(self, mode: str, rows: int, after: int | None) -> None:
        after_walk = None if after is None else self.state.walk + after
        self.ask(StartWalk, mode=mode, rows=rows, after_walk=after_walk)

    @rule(
        command=st.sampled_from(
            [
                commands.PauseWalk,
                commands.ResumeWalk,
                commands.CancelWalk,
                commands.RetryWalk,
                commands.ApproveVerdict,
                commands.RejectVerdict,
            ]
        ),
        aim=aims,
    )
    def steer(self, command: type[commands.Request], aim: int) -> None:
        self.ask(command, walk=self.state.walk + aim)

    @precondition(lambda self: self.state.status in FITTING)
    @rule()
    def steer_well(self) -> None:
        self.ask(FITTING[self.state.status], walk=self.state.walk)

    @rule()
    def force(self) -> None:
        self.ask(commands.ForceFull)

    @rule(schedule=st.sampled_from([None, Schedule(), DAILY, Schedule(verify_every=0.5)]))
    def schedule(self, schedule: Schedule | None) -> None:
        self.ask(commands.SetSchedule, schedule=schedule)

    @rule(
        outcome=st.sampled_from(OUTCOMES),
        aim=aims,
        barrier=aims,
    )  # fmt: skip
    def judge(self, outcome: Any, aim: int, barrier: int) -> None:
        state = self.state
        verdict = Verdict(outcome=outcome, as_of=state.listed_at, expected=1, stored=1)
        at = {"walk": state.walk + aim, "barrier": state.barrier + barrier, "round": 0}
        self.ask(RecordVerdict, verdict=verdict, **at)

    @rule(
        command=st.sampled_from([RefetchPages, PrunePages]),
        ids=st.sets(st.integers(0, 9)),
        aim=aims,
    )
    def repair(self, command: type[commands.Repair], ids: set[int], aim: int) -> None:
        named = tuple(page(number).id for number in sorted(ids))
        self.ask(command, walk=self.state.walk + aim, round=1, ids=named)

    @precondition(lambda self: self.state.status == "verifying")
    @rule(outcome=st.sampled_from(OUTCOMES))
    def judge_well(self, outcome: Any) -> None:
        self.judge(outcome, 0, 0)
        self.walk_on()

    @rule(aim=aims)
    def still_waiting(self, aim: int) -> None:
        walk = self.state.walk + aim
        self.log.append(StillWaiting(site=SITE, kind=KIND, walk=walk, at=self.now))

    # What the walker writes itself

    @precondition(lambda self: list(timers(self.state, self.policy)))
    @rule(data=st.data())
    def fire(self, data: st.DataObject) -> None:
        """Early or late by the clock: it may have been set."""
        armed = list(timers(self.state, self.policy))
        self.log.append(as_published(data.draw(st.sampled_from(armed)).command))

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def double(self, data: st.DataObject) -> None:
        """Whatever was ever written comes once more."""
        self.log.append(data.draw(st.sampled_from(self.log)))

    @rule()
    def heal(self) -> None:
        command = due(self.state)
        if command is not None and self.state.retry_at is None:
            self.log.append(as_published(command))

    @precondition(lambda self: self.pending and isinstance(self.pending[0], FetchedCommand))
    @rule()
    def put_back(self) -> None:
        self.log.append(self.log[self.offset])
        self.offset += 1

    @property
    def pending(self) -> list[Command]:
        return self.log[self.offset :]

    # Time

    @rule(seconds=st.sampled_from([0.25, 30, 1000, 86_400, 3600, -3600]))
    def let_pass(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # One command's turn

    @precondition(lambda self: self.pending)
    @rule(answer=st.sampled_from(ANSWERS))
    def turn(self, answer: str) -> None:
        command = self.log[self.offset]
        self.offset += 1
        fetched = None
        if isinstance(command, FetchedCommand) and self.fetchable(self.state, command):
            fetched = respond(self.source, command, answer, self.now)
        self.commit(command, fetched)

    @precondition(lambda self: self.pending)
    @rule(answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=12))
    def turns(self, answers: list[str]) -> None:
        for answer in answers:
            if self.pending:
                self.turn(answer)

    @rule()
    def walk_on(self) -> None:
        """All goes well for a while."""
        for _ in range(MOST_TURNS_OF_ONE_WALK):
            if self.pending:
                self.turn(SOUND)

    def commit(self, command: Command, fetched: Fetched | None) -> None:
        before = self.state
        outcome = self.decide(before, command, fetched, self.now, self.policy)
        assert as_published(outcome.state) == outcome.state
        again = self.decide(as_published(before), command, fetched, self.now, self.policy)
        assert again == outcome, "after a crash it would have been decided otherwise"
        self.account.commit(before, command, outcome)
        check_state(outcome.state, self.policy)
        check_what_is_next(before, outcome)
        check_timer(before, command, outcome)
        self.state = outcome.state
        self.inputs.append((command, fetched, self.now))
        if outcome.next_command is not None:
            self.log.append(as_published(outcome.next_command))

    # In the end

    def teardown(self) -> None:
        state = WalkState(site=SITE, kind=KIND)
        for command, fetched, now in self.inputs:
            state = self.decide(as_published(state), command, fetched, now, self.policy).state
        assert state == self.state, "a replay of the same inputs ends otherwise"
        self.become_quiet()

    def become_quiet(self) -> None:
        """With the log lost, what is due and the timers alone bring every walk to its end."""
        for _ in range(MOST_TURNS_TO_BE_QUIET):
            command = due(self.state) or self._timer_of_this_walk()
            if command is None:
                break
            fetched = None
            if isinstance(command, FetchedCommand):
                fetched = respond(self.source, command, SOUND, self.now)
            self.now += timedelta(seconds=1)
            self.commit(as_published(command), fetched)
        assert self.state.status in WAITS_FOR_SOMEBODY, "a walk is stuck"
        assert self.state.follow_up is None or self.state.status in ("paused", "failed")

    def _timer_of_this_walk(self) -> Command | None:
        armed = [timer.command for timer in timers(self.state, self.policy)]
        return next((each for each in armed if not isinstance(each, StartWalk)), None)


class JudgedWalks(Walks):
    """Walks wait for a verdict."""

    policy = JUDGED


class ScheduledWalks(Walks):
    """Walks wait for a verdict, and begin by themselves."""

    policy = SCHEDULED


ENOUGH: Final = settings(max_examples=60, stateful_step_count=40, deadline=None)

FIRST_FAULT: Final = settings(ENOUGH, phases=[Phase.generate], database=None, max_examples=1000)


@pytest.mark.parametrize("machine", [Walks, JudgedWalks, ScheduledWalks])
def test_whatever_the_log_brings_the_walks_add_up(machine: type[Walks]) -> None:
    run_state_machine_as_test(machine, settings=ENOUGH)


class CarelessWalks(Walks):
    """Whatever step comes is taken for the one that is due."""

    @staticmethod
    def fetchable(state: WalkState, command: Command) -> bool:
        return isinstance(command, TakeStep) and isinstance(due(state), TakeStep)

    @staticmethod
    def decide(state: WalkState, command: Command, *given: Any) -> Outcome:
        step = due(state)
        careless = isinstance(command, TakeStep) and isinstance(step, TakeStep)
        return decide(state, step if careless and step else command, *given)


class ForgetfulWalks(Walks):
    """What was done is not remembered."""

    @staticmethod
    def decide(state: WalkState, command: Command, *given: Any) -> Outcome:
        return decide(replace(state, recent=()), command, *given)


@pytest.mark.parametrize("machine", [CarelessWalks, ForgetfulWalks])
def test_without_a_guard_it_is_found_out(machine: type[Walks]) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=FIRST_FAULT)
