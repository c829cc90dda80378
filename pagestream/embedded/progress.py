"""How the embedded servers say what they are doing, to whoever wants to show it."""

from typing import Protocol


class Progress(Protocol):
    """Something that shows progress; it may be called from several threads at once."""

    def __call__(self, task: str, done: int = 0, total: int = 0) -> None:
        """Show `task`, a short phrase, anew or further on: `done` of `total` bytes where known."""


def silent(task: str, done: int = 0, total: int = 0) -> None:
    """Show nothing: the Progress of whoever does not watch."""
