"""Roles as child processes: started, kept going, and stopped together."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from pagestream.embedded.processes import free_port, last_line, spawn
from runtime.errors import Unavailable

_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05
_LIVED_LONG_SECONDS: Final = 30.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_HTTP_OK: Final = 200

Report = Callable[[str], None]
"""Takes a sentence for a person about something that just happened."""


def pause_before(restart: int) -> float:
    """Return the seconds to wait before the n-th restart in a row: 0.5, 1, 2 … at most 30."""
    return float(min(0.5 * 2 ** (restart - 1), _LONGEST_PAUSE_SECONDS))


class SupervisedRole:
    """One role's process, its log and the port of its health; started again whenever it ends."""

    def __init__(
        self, name: str, directory: Path, environment: Mapping[str, str], report: Report
    ) -> None:
        self.name: Final = name
        self.log: Final = directory / f"{name}.log"
        self.port: int | None = None
        self._environment = dict(environment)
        self._report = report
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restarts = 0
        self._due_at: float | None = None

    @property
    def health(self) -> str:
        """The base URL of its metrics and health."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the port that it had before where that is free."""
        self.port = free_port(self.port)
        environment = self._environment | {"PAGESTREAM_HEALTH_PORT": str(self.port)}
        # -P: what lies in the user's folder must not be taken for a module of ours.
        command = [sys.executable, "-P", "-m", "pagestream", "run", self.name]
        self._process = spawn(command, self.log, environment=environment)
        self._started_at, self._due_at = time.monotonic(), None

    def tend(self) -> None:
        """Start it again when it has ended, after a pause that grows while it keeps ending."""
        now = time.monotonic()
        if self._due_at is not None:
            if now >= self._due_at:
                self.start()
            return
        if self._process is None or (code := self._process.poll()) is None:
            return
        lived_long = now - self._started_at > _LIVED_LONG_SECONDS
        self._restarts = 1 if lived_long else self._restarts + 1
        pause = pause_before(self._restarts)
        self._due_at = now + pause
        self._report(
            f"the {self.name} ended with code {code}, and starts again in {pause:.0f} s: "
            f"{last_line(self.log)}"
        )

    def is_ready(self) -> bool:
        """Tell whether it says of itself that it can do its work."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == _HTTP_OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def has_ended(self) -> bool:
        """Tell whether there is no process now."""
        return self._process is None or self._process.poll() is not None

    def terminate(self) -> None:
        """Ask it to finish what it has in hand and end."""
        if self._process is not None and not self.has_ended():
            self._process.send_signal(signal.SIGTERM)

    def end_by(self, deadline: float) -> None:
        """Wait for its end until the deadline, on the monotonic clock, then kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Supervisor:
    """Several roles, started together and kept going. A context manager."""

    def __init__(
        self,
        names: Sequence[str],
        directory: Path,
        variables: Mapping[str, str],
        report: Report,
    ) -> None:
        environment = os.environ | dict(variables)
        self.roles = [SupervisedRole(name, directory, environment, report) for name in names]

    def __enter__(self) -> Self:
        for role in self.roles:
            if role.log.exists():
                role.log.replace(role.log.with_suffix(".previous.log"))
            role.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        for role in self.roles:
            role.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for role in self.roles:
            role.end_by(deadline)

    def tend(self) -> None:
        """Start again whichever role has ended; call it a few times a second."""
        for role in self.roles:
            role.tend()

    def wait_until_ready(self) -> None:
        """Wait until every role is ready; Unavailable when one ends, or takes too long."""
        deadline = time.monotonic() + _READY_SECONDS
        for role in self.roles:
            while not role.is_ready():
                if role.has_ended() or time.monotonic() > deadline:
                    raise Unavailable(
                        f"the {role.name} does not become ready: {last_line(role.log)}",
                        remedy=f"read {role.log}",
                    )
                time.sleep(_POLL_SECONDS)
