"""One command's turn: decide it, and commit all that it brings about with its offset."""

from collections.abc import Sequence
from typing import Final

import msgspec

from producer.decide import Outcome, decide
from producer.intake import Unreadable
from producer.lanes import Pending
from producer.policy import Policy
from producer.publication import letter_record, put_back, records_of, states_of
from producer.responses import Failure, Fetched
from producer.state import Owned, commit_metadata
from producer.timers import Clock
from runtime.kafka.group import GroupMetadata
from runtime.kafka.records import Outgoing, Partition
from runtime.kafka.transactions import TransactionalProducer, TransactionRefused
from runtime.logs import logger
from runtime.metrics import Metrics
from schemas.commands import Command
from schemas.events import SourceListed, StepWalked
from schemas.records import DeadLetter
from schemas.topics import COMMANDS
from schemas.walks import WalkState

MOST_TRIES: Final = 5
"""So often the broker may refuse what one command brings about; then the command has failed.

An outage does not count: whatever passes is tried again for as long as it lasts.
"""


class _Decision(msgspec.Struct, frozen=True):
    """What is committed for one command, and what memory and metrics take over afterwards."""

    records: list[Outgoing]
    as_of: int
    before: WalkState | None = None
    outcome: Outcome | None = None
    letters: tuple[DeadLetter, ...] = ()


class _Tries(msgspec.Struct):
    """How often the transaction of the command at `offset` was refused."""

    offset: int
    refused: int = 0


class Committer:
    """Decides commands and commits what they bring about. `clock` tells the time of decisions."""

    def __init__(
        self,
        producer: TransactionalProducer,
        commands_id: str,
        policy: Policy,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._producer = producer
        self._commands_id = commands_id
        self._policy = policy
        self._metrics = metrics
        self._clock = clock
        self._tries: dict[int, _Tries] = {}
        self._log = logger("walker")

    def gives_up(self, owned: Owned) -> bool:
        """Tell whether the broker has refused what follows of the next command too often."""
        return self._tries_of(owned).refused >= MOST_TRIES

    def _tries_of(self, owned: Owned) -> _Tries:
        tries = self._tries.get(owned.number)
        if tries is None or tries.offset != owned.offset:
            tries = self._tries[owned.number] = _Tries(owned.offset)
        return tries

    def commit(
        self, owned: Owned, head: Pending, fetched: Fetched | None, membership: GroupMetadata
    ) -> WalkState | None:
        """Decide the command at the head of a partition's lane, and commit it.

        `fetched` is what the source answered, where it was to be asked. Returns the state of the
        command's table, or None where the record is no command. All is encoded before the
        transaction begins, and memory changes after it has committed. Raises TransactionFailed:
        nothing in memory has changed, and `owned` must be restored.
        """
        if isinstance(head.command, Unreadable):
            letter = head.command.letter
            decision = _Decision([letter_record(letter)], owned.as_of, letters=(letter,))
        else:
            fetched = _given_up() if self.gives_up(owned) else fetched
            decision = self._decide(owned, head.command, head.offset, fetched)
        self._commit(owned, decision.records, head.offset, decision.as_of, membership)
        for letter in decision.letters:
            self._metrics.add("pagestream_dead_letters", found_by="walker", reason=letter.reason)
        if decision.before is None or decision.outcome is None:
            return None
        owned.states[decision.before.table.key] = decision.outcome.state
        self._account(decision.before, decision.outcome)
        return decision.outcome.state

    def put_back(self, owned: Owned, waiting: Sequence[Pending], membership: GroupMetadata) -> None:
        """Move the commands at the head of a partition's lane to the end of its log.

        Raises TransactionFailed like `commit`.
        """
        records = [
            put_back(pending.command, pending.offset)
            for pending in waiting
            if not isinstance(pending.command, Unreadable)
        ]
        self._commit(owned, records, waiting[-1].offset, owned.as_of, membership)

    def _commit(
        self,
        owned: Owned,
        records: list[Outgoing],
        offset: int,
        as_of: int,
        membership: GroupMetadata,
    ) -> None:
        try:
            self._producer.commit_step(
                records,
                Partition(COMMANDS.name, owned.number),
                offset + 1,
                commit_metadata(as_of, self._commands_id, self._producer.transactional_id),
                membership,
            )
        except TransactionRefused:
            self._tries_of(owned).refused += 1
            raise
        owned.offset, owned.as_of, owned.starts = offset + 1, as_of, 0

    def _decide(
        self, owned: Owned, command: Command, offset: int, fetched: Fetched | None
    ) -> _Decision:
        table = command.table
        before = owned.state(table)
        outcome = decide(before, command, fetched, self._clock(), self._policy)
        records = list(records_of(outcome, table, offset))
        as_of = owned.as_of
        if outcome.state != before:
            as_of = offset + 1
            records += states_of(outcome, table, as_of, self._commands_id)
        return _Decision(records, as_of, before, outcome, outcome.dead_letters)

    def _account(self, before: WalkState, outcome: Outcome) -> None:
        for event in outcome.events:
            if isinstance(event, StepWalked | SourceListed):
                phase = "pages" if isinstance(event, StepWalked) else "listing"
                self._metrics.add("pagestream_steps", phase=phase)
        self._metrics.add("pagestream_pages_published", len(outcome.pages))
        for state in (outcome.ended, outcome.state):
            if state is not None and (state.status, state.walk) != (before.status, before.walk):
                self._log.info(
                    f"walk_{state.status}",
                    table=state.table.key,
                    walk=state.walk,
                    pages=state.pages,
                    error=state.error,
                )


def _given_up() -> Failure:
    return Failure(
        reason="unpublishable",
        error=f"Kafka refused what follows of it {MOST_TRIES} times: see the walker's log",
    )
