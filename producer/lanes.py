"""The commands read ahead: one lane per partition, decided strictly in its order."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

import msgspec

from producer.intake import Unreadable
from producer.responses import Fetched
from schemas.commands import Command, TakeStep


class Pending(msgspec.Struct):
    """A command that waits for its turn; `response` is there once its fetch has begun."""

    command: Command | Unreadable
    offset: int
    response: Future[Fetched] | None = None

    def ready(self) -> bool:
        """Tell whether it can be decided now."""
        return self.response is None or self.response.done()


class Lane:
    """The pending commands of one partition."""

    def __init__(self) -> None:
        self._pending: deque[Pending] = deque()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, pending: Pending) -> None:
        """Queue a command behind all others."""
        self._pending.append(pending)

    @property
    def head(self) -> Pending:
        """The command whose turn it is."""
        return self._pending[0]

    def decided(self) -> None:
        """Drop the head: its transaction has committed."""
        self._pending.popleft()

    def next_steps(self) -> Iterator[tuple[Pending, TakeStep]]:
        """Yield each table's first pending command, where it is a step not fetched yet.

        Every earlier command of its table has committed, so that it is known whether it is due.
        """
        seen = set()
        for pending in self._pending:
            command = pending.command
            if isinstance(command, Unreadable) or command.table in seen:
                continue
            seen.add(command.table)
            if isinstance(command, TakeStep) and pending.response is None:
                yield pending, command

    def cancel(self) -> None:
        """Give up every fetch that has not begun; what is fetched is dropped."""
        for pending in self._pending:
            if pending.response is not None:
                pending.response.cancel()
        self._pending.clear()
