"""Walkers with one rule taken away, as control arms: `broken_walker.py ARM PAGES`.

What a test calls safe must be seen to fail in one of these, at the same place of the same program.
"""

import sys
from collections.abc import Callable, Iterable
from datetime import datetime

import walker_process
from confluent_kafka import Consumer
from msgspec.structs import replace

from producer import committing, decide, role, walker
from producer.responses import Fetched
from runtime.kafka.group import GroupConsumer, GroupMetadata
from runtime.kafka.records import Outgoing, Partition
from runtime.kafka.transactions import TransactionalProducer
from runtime.settings import load
from schemas.commands import Command, TakeStep
from schemas.topics import WALKS
from schemas.walks import WalkState


class ProduceThenCommit(TransactionalProducer):
    """Publishes first, and moves its position in a transaction of its own."""

    def commit_step(
        self,
        records: Iterable[Outgoing],
        source: Partition,
        next_offset: int,
        metadata: str,
        membership: GroupMetadata,
    ) -> None:
        """Publish; then write the state with the offset."""
        states, others = _parted(records)
        self.publish(others)
        super().commit_step(states, source, next_offset, metadata, membership)


class OffsetFirst(TransactionalProducer):
    """Moves its position first, and then publishes."""

    def commit_step(
        self,
        records: Iterable[Outgoing],
        source: Partition,
        next_offset: int,
        metadata: str,
        membership: GroupMetadata,
    ) -> None:
        """Write the state with the offset; then publish."""
        states, others = _parted(records)
        super().commit_step(states, source, next_offset, metadata, membership)
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
        settings = load()
        group = walker.group_name(settings)
        stranger = Consumer({"bootstrap.servers": settings.kafka, "group.id": group})
        return GroupMetadata(stranger.consumer_group_metadata())


class Whatever:
    """Equal to everything: to whatever step is asked for, that step is due."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # it is compared, never looked up


class Unguarded(walker.Walker):
    """Takes every step that it is given, whether it is due or not."""

    def _heal(self) -> None:
        """Give nothing again: every step would be due."""


def _decide_unguarded(
    state: WalkState, command: Command, fetched: Fetched | None, now: datetime
) -> decide.Outcome:
    if isinstance(command, TakeStep):
        believed = {
            name: getattr(command, name) for name in ("walk", "attempt", "position", "rows")
        }
        state = replace(state, status="in_progress", steps=command.step, **believed)
    return decide.decide(state, command, fetched, now)


def _no_guard() -> None:
    committing.decide = _decide_unguarded
    walker.due = lambda _state: Whatever()
    role.Walker = Unguarded


def _produce_then_commit() -> None:
    walker.TransactionalProducer = ProduceThenCommit


def _offset_first() -> None:
    walker.TransactionalProducer = OffsetFirst


def _no_generation() -> None:
    walker.GroupConsumer = OfNoGeneration


ARMS: dict[str, Callable[[], None]] = {
    "produce-then-commit": _produce_then_commit,
    "offset-first": _offset_first,
    "no-generation": _no_generation,
    "no-guard": _no_guard,
}

if __name__ == "__main__":
    ARMS[sys.argv.pop(1)]()
    sys.exit(walker_process.main())
