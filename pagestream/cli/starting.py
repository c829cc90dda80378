"""What a start is doing: on a terminal a line for each server, elsewhere a line for each step."""

import threading
import time
from typing import Final

from rich.spinner import Spinner
from rich.table import Table as Grid

from pagestream.cli.moving import Moving
from pagestream.cli.screen import say

_MEGABYTE: Final = 1_000_000
_DOWNLOAD_LINE_SECONDS: Final = 5.0


class StartView(Moving):
    """Shows the progress of a start; safe to call from several threads. A context manager.

    A task is `what: what it is doing`; when it says `ready`, it is done.
    """

    def __init__(self) -> None:
        super().__init__(transient=False)
        self._lock = threading.Lock()
        self._tasks: dict[str, str] = {}
        self._spinner = Spinner("dots")
        self._said: dict[str, float] = {}

    def __call__(self, task: str, done: int = 0, total: int = 0) -> None:
        """Show a task anew or further on: `done` of `total` bytes where known."""
        named, _, doing = task.partition(": ")
        what = named.rstrip("0123456789. ")  # its installation names a release, its start does not
        amount = f", {done / _MEGABYTE:.0f} of {total / _MEGABYTE:.0f} MB" if total else ""
        with self._lock:
            self._tasks[what] = f"{doing}{amount}"
            if self._moves:
                self._draw(self._table())
            else:
                self._say(task, amount)

    def _say(self, task: str, amount: str) -> None:
        now = time.monotonic()
        if task in self._said and (not amount or now - self._said[task] < _DOWNLOAD_LINE_SECONDS):
            return
        self._said[task] = now
        say(f"{task}{amount}")

    def _table(self) -> Grid:
        table = Grid.grid(padding=(0, 1))
        for what, doing in self._tasks.items():
            ready = doing == "ready"
            table.add_row("[green]✓[/]" if ready else self._spinner, what, f"[dim]{doing}[/]")
        return table
