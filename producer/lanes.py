"""The commands read ahead: one lane per partition, decided strictly in its order."""

from collections import deque
from collections.abc import Iterator

import msgspec

from producer.decide import FetchedCommand
from producer.intake import Unreadable
from schemas.commands import Command, Request


class Pending(msgspec.Struct, frozen=True):
    """A command that waits for its turn."""

    command: Command | Unreadable
    offset: int

    @property
    def takes_hold_at_once(self) -> bool:
        """Whether somebody asks for something that needs no response of the source."""
        return isinstance(self.command, Request) and not isinstance(self.command, FetchedCommand)


class Lane:
    """The pending commands of one partition.

    `changed` says that a command has come or gone, and is for who looks through them to take back.
    """

    def __init__(self) -> None:
        self._pending: deque[Pending] = deque()
        self._at_once = 0
        self.changed = False

    def __len__(self) -> int:
        return len(self._pending)

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._pending)

    def add(self, pending: Pending) -> None:
        """Queue a command behind all others."""
        self._pending.append(pending)
        self._at_once += pending.takes_hold_at_once
        self.changed = True

    @property
    def head(self) -> Pending:
        """The command whose turn it is."""
        return self._pending[0]

    @property
    def must_not_wait(self) -> bool:
        """Whether somewhere in it stands a request that needs no response of the source."""
        return self._at_once > 0

    def passed(self) -> None:
        """Drop the head: its transaction has committed."""
        self._at_once -= self._pending.popleft().takes_hold_at_once
        self.changed = True

    def firsts(self) -> Iterator[FetchedCommand]:
        """Yield each table's first pending command, where it is one to ask the source for.

        Every earlier command of its table has committed, so that it is known whether it is due.
        """
        seen = set()
        for pending in self._pending:
            command = pending.command
            if isinstance(command, Unreadable) or command.table in seen:
                continue
            seen.add(command.table)
            if isinstance(command, FetchedCommand):
                yield command
