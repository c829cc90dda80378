"""Walkers with one rule taken away, as control arms: `broken_walker.py ARM PAGES`.

What a test calls safe must be seen to fail in one of these, at the same place of the same program.
"""

import sys
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import datetime
from typing import Any

import walker_process
from confluent_kafka import Consumer
from msgspec.structs import replace

from producer import committing, decide, fetching, giving, probation, walker
from producer.lanes import Lane
from producer.policy import Policy
from producer.responses import Fetched
from producer.state import Owned
from runtime.kafka.group import GroupConsumer, GroupMetadata
from runtime.kafka.records import Outgoing
from runtime.kafka.transactions import TransactionalProducer
from runtime.settings import Settings, load
from schemas.commands import Command, TakeStep
from schemas.topics import WALKS
from schemas.walks import WalkState


class ProduceThenCommit(TransactionalProducer):
    """Publishes first, and moves its position in a transaction of its own."""

    def commit_step(self, records: Iterable[Outgoing], *position: Any) -> None:
        """Publish; then write the state with the offset."""
        states, others = _parted(records)
        self.publish(others)
        super().commit_step(states, *position)


class OffsetFirst(TransactionalProducer):
    """Moves its position first, and then publishes."""

    def commit_step(self, records: Iterable[Outgoing], *position: Any) -> None:
        """Write the state with the offset; then publish."""
        states, others = _parted(records)
        super().commit_step(states, *position)
        self.publish(others)


def _parted(records: Iterable[Outgoing]) -> tuple[list[Outgoing], list[Outgoing]]:
    everything = list(records)
    states = [record for record in everything if record.topic == WALKS.name]
    return states, [record for record in everything if record.topic != WALKS.name]


class OfNoGeneration(GroupConsumer):
    """Proves its membership with that of nobody: what a consumer has before it has joined."""

    @property
    def metadata(self) -> GroupMetadata:
        """The proof of no membership."""
        return membership_of_no_generation(load())


def membership_of_no_generation(settings: Settings) -> GroupMetadata:
    """Return what a consumer that has never joined gives for a proof of membership."""
    group = walker.group_name(settings)
    stranger = Consumer({"bootstrap.servers": settings.kafka, "group.id": group})
    proof = GroupMetadata(stranger.consumer_group_metadata())
    stranger.close()
    return proof


def _whatever(_state: WalkState, command: Command) -> bool:
    """Take every step to be due."""
    return isinstance(command, TakeStep)


class Unhealing(giving.Giver):
    """Gives nothing again: to who takes every step, every step is due."""

    def _heal(self, _owned: Mapping[int, Owned], _busy: Container[int]) -> None:
        """Do nothing."""


def _decide_unguarded(
    state: WalkState, command: Command, fetched: Fetched | None, now: datetime, policy: Policy
) -> decide.Outcome:
    if isinstance(command, TakeStep):
        believed = {name: getattr(command, name) for name in ("walk", "attempt", "position")}
        state = replace(
            state, status="in_progress", steps=command.step, size=command.rows, **believed
        )
    return decide.decide(state, command, fetched, now, policy)


def _no_guard() -> None:
    committing.decide = _decide_unguarded
    walker.fetchable = fetching.fetchable = _whatever
    walker.Giver = Unhealing


def _produce_then_commit() -> None:
    walker.TransactionalProducer = ProduceThenCommit


def _offset_first() -> None:
    walker.TransactionalProducer = OffsetFirst


def _no_generation() -> None:
    walker.GroupConsumer = OfNoGeneration


class Patient(Lane):
    """Has a request wait for every response before it."""

    must_not_wait = False  # type: ignore[assignment]  # that is the rule it lacks


def _no_put_back() -> None:
    walker.Lane = Patient


class Uncounted(probation.Probation):
    """Does not count how often it begins to decode a response."""

    def _count(self, _owned: Owned, _consumer: GroupConsumer) -> bool:
        return True


def _no_count() -> None:
    walker.Probation = Uncounted


ARMS: dict[str, Callable[[], None]] = {
    "produce-then-commit": _produce_then_commit,
    "offset-first": _offset_first,
    "no-generation": _no_generation,
    "no-guard": _no_guard,
    "no-put-back": _no_put_back,
    "no-count": _no_count,
}

if __name__ == "__main__":
    ARMS[sys.argv.pop(1)]()
    sys.exit(walker_process.main())
