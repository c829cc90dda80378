"""Roles under measurement: processes as an operator runs them, and what they took of memory."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from runtime.settings import Settings

_STOP_SECONDS: Final = 30


class MeasuredRole:
    """A role's process, started again when asked to tend to it."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._process = start()

    def peak_megabytes(self) -> float:
        """Return the most memory that was ever resident, in MB; the process must still live."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1000

    def kill(self) -> None:
        """Kill it, without a chance to finish anything."""
        self._process.kill()
        self._process.wait()

    def tend(self) -> None:
        """Start it again if it has ended, as a supervisor would."""
        if self._process.poll() is not None:
            self._process = self._start()

    def end(self) -> None:
        """Let it finish what it has in hand."""
        self._process.terminate()
        self._process.wait(_STOP_SECONDS)


@contextmanager
def role(name: str, settings: Settings, *command: str) -> Iterator[MeasuredRole]:
    """Run `pagestream run <name>`, or another command of Python's, for the block."""
    arguments = command or ("-P", "-m", "pagestream", "run", name)
    settings.state_directory.mkdir(parents=True, exist_ok=True)
    with (settings.state_directory / f"{name}.log").open("ab") as log:

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, *arguments], env=_environment(settings), stdout=log, stderr=log
            )

        running = MeasuredRole(start)
        try:
            yield running
        finally:
            running.end()


def _environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a role: ours, with these settings and no others of pagestream."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAGESTREAM_")}
    given = settings.model_dump(exclude_unset=True)
    given["database"] = settings.database.get_secret_value()
    return kept | {f"PAGESTREAM_{name.upper()}": str(value) for name, value in given.items()}
