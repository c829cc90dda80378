"""Workers: roles as processes that are killed, frozen and started again for as long as it takes."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import Popen
from typing import Final

from pagestream.embedded.processes import last_line, spawn

_PAUSE_SECONDS: Final = 0.3
_LONGEST_PAUSE_SECONDS: Final = 3.0


class Worker:
    """One role in one slot: whenever its process ends, the next one is started.

    `command` is what to run, `environment` all of its variables; its log goes to `log`.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name: Final = name
        self.log: Final = log
        self.ended: Counter[int] = Counter()
        self.last_words: list[str] = []
        self._command = command
        self._environment = dict(environment)
        self._process: Popen[bytes] | None = None
        self._due_at = 0.0
        self._in_a_row = 0
        self._frozen_since: float | None = None
        self._thaw_after = 0.0
        self._resting = False

    def start(self, **order: str) -> None:
        """Start it; `order` is a crash point's variable, which the next process will not have."""
        self._thaw_after = 0.0
        self._frozen_since = None
        environment = self._environment | order
        self._process = spawn(self._command, self.log, environment=environment)

    def tend(self) -> None:
        """Start it again when it has ended, thaw it when it was frozen for long enough."""
        process = self._process
        if process is None or self._resting:
            return
        if (code := process.poll()) is not None:
            self._follow_up(process, code)
        elif _is_stopped(process.pid):
            self._frozen_since = self._frozen_since or time.monotonic()
            if time.monotonic() - self._frozen_since >= self._thaw_after:
                self.thaw()
        else:
            self._frozen_since = None

    def _follow_up(self, process: Popen[bytes], code: int) -> None:
        if self._due_at == 0.0:
            self.ended[code] += 1
            if code > 0:
                self.last_words.append(f"{self.name} ended with {code}: {last_line(self.log)}")
            self._in_a_row = self._in_a_row + 1 if code > 0 else 0
            pause = min(_PAUSE_SECONDS * 2**self._in_a_row, _LONGEST_PAUSE_SECONDS)
            self._due_at = time.monotonic() + pause
        if time.monotonic() >= self._due_at and process is self._process:
            self._due_at = 0.0
            self.start()

    # What befalls it

    def kill(self) -> None:
        """End its process at once."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask its process to end."""
        self._signal(signal.SIGTERM)

    def freeze(self, seconds: float) -> None:
        """Stop its process for so long, whatever it is doing."""
        self._thaw_after = seconds
        self._signal(signal.SIGSTOP)

    def crash_at(self, passage: str) -> None:
        """Start it anew, to be killed at a crash point."""
        self._begin_again(PAGESTREAM_CRASH_AT=passage)

    def freeze_at(self, passage: str, seconds: float) -> None:
        """Start it anew, to be frozen at a crash point for so long."""
        self._begin_again(PAGESTREAM_FREEZE_AT=passage)
        self._thaw_after = seconds

    def thaw(self) -> None:
        """Let it go on where it was frozen, and wherever it will be."""
        self._thaw_after = 0.0
        self._frozen_since = None
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End it for good."""
        self._resting = True
        self.kill()
        if self._process is not None:
            self._process.wait()

    def _begin_again(self, **order: str) -> None:
        self.kill()
        if self._process is not None:
            self._process.wait()
            self.ended[self._process.returncode] += self._due_at == 0.0
        self._due_at = 0.0
        self.start(**order)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def role_command(role: str) -> list[str | Path]:
    """Return the command line of a role, as a person would have it run."""
    # -P: what lies in the working directory must not be taken for a module of ours.
    return [sys.executable, "-P", "-m", "pagestream", "run", role]


def _is_stopped(process_id: int) -> bool:
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "T"
