"""Commands that the walker gives by itself: of timers, and what is due but nowhere in the log.

Only ever commands, in transactions without an offset: whatever they bring about is decided at their
turn, by whoever owns their partition then. So nobody needs to know whether one was given already.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Final

from producer.decide import due, timers
from producer.lanes import Lane
from producer.policy import Policy
from producer.publication import given
from producer.silence import Silence
from producer.state import Owned
from producer.timers import Clock, Timers
from runtime.kafka.transactions import TransactionalProducer, TransactionFailed
from runtime.logs import logger
from schemas.commands import Command
from schemas.walks import WalkState

GIVEN_AT_ONCE: Final = 100
"""The most commands that timers give in one turn of the loop, in one transaction."""

HEAL_AFTER_SECONDS: Final = 5.0


class Giver:
    """Gives commands for the tables of owned partitions. `clock` tells the time of day.

    `silence` is to be told what moves in each partition.
    """

    def __init__(self, producer: TransactionalProducer, policy: Policy, clock: Clock) -> None:
        self.silence: Final = Silence()
        self._producer = producer
        self._policy = policy
        self._timers = Timers(clock)

    def restored(self, owned: Owned) -> None:
        """Set the timers of all states of a partition anew."""
        self._timers.disarm(owned.number)
        for state in owned.states.values():
            self.decided(owned.number, state)

    def decided(self, number: int, state: WalkState) -> None:
        """Set the timers of a table's new state."""
        self._timers.arm(number, state.table, timers(state, self._policy))

    def forget(self, number: int) -> None:
        """Give nothing for a partition any more."""
        self._timers.disarm(number)
        self.silence.ends(number)

    def give(self, owned: Mapping[int, Owned], lanes: Mapping[int, Lane]) -> None:
        """Give what has its time, and what is lost; `lanes` are of partitions that are busy.

        What waits in its lane already is not given again: it would only lengthen the lane.
        """
        gone_off = [
            timer
            for timer in self._timers.gone_off(GIVEN_AT_ONCE)
            if not _waits(lanes, timer.command)
        ]
        if gone_off and not self._give([timer.command for timer in gone_off]):
            self._timers.not_given(gone_off)
        self._heal(owned, lanes)

    def _heal(self, owned: Mapping[int, Owned], busy: Container[int]) -> None:
        """Give what is due where all is read and nothing comes, and so lies nowhere in the log.

        What waits for its time is given by its timer alone.
        """
        for number in self.silence.longer_than(HEAL_AFTER_SECONDS):
            if number in busy:
                continue
            self.silence.begins(number)
            states = owned[number].states.values()
            found = (due(state) for state in states if state.retry_at is None)
            if lost := [command for command in found if command is not None]:
                tables = [command.table.key for command in lost]
                logger("walker").warning("due_commands_given_again", tables=tables)
                self._give(lost)

    def _give(self, commands: Sequence[Command]) -> bool:
        """Publish commands; return whether that is certain."""
        try:
            self._producer.publish([given(command) for command in commands])
        except TransactionFailed:
            self._producer.recover()
            return False
        return True


def _waits(lanes: Mapping[int, Lane], command: Command) -> bool:
    lane = lanes.get(command.table.partition)
    return lane is not None and any(pending.command == command for pending in lane)
