"""What the embedded servers have in common: a state directory, a port, a start and an end."""

import platform
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from pagestream.embedded.processes import free_port, kill_family, last_line, outlived
from pagestream.embedded.progress import Progress, silent
from runtime.errors import ConfigurationError, InternalError, OwnedElsewhere, Unavailable

_POLL_SECONDS: Final = 0.02
_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 30.0
_PORT_ATTEMPTS: Final = 4


class PortTakenError(Exception):
    """The server found the port that it was given in use: another one has to be tried."""


class EmbeddedServer(ABC):
    """One server with its own state directory, on loopback; subclasses say which.

    A later `start` on the same state finds the data of the earlier one, and takes its port again
    where that is free. `stop` lets the server finish; after `kill` it has to recover. A server that
    was started is stopped by whoever started it, or dies with this process.
    """

    title: ClassVar[str]
    """The server's name for a person."""
    ready_line: ClassVar[bytes]
    """What the server writes to its log once it serves."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, state: Path, *, progress: Progress = silent) -> None:
        self.state = state.absolute()
        self.log = self.state / "server.log"
        self.progress = progress
        self._process: subprocess.Popen[bytes] | None = None
        self.abandoned = threading.Event()
        """Set for good once this server is not to start any more."""
        self._lock = threading.Lock()

    @abstractmethod
    def prepare(self) -> None:
        """Do what must be done before the server can start on its state."""

    @abstractmethod
    def launch(self, port: int) -> subprocess.Popen[bytes]:
        """Start the server's process on `port`."""

    @abstractmethod
    def address(self, port: int) -> str:
        """Return what a client connects to."""

    @property
    def pid(self) -> int:
        """The process id of the server; InternalError when it was not started."""
        if self._process is None:
            raise InternalError(f"{self.title} was not started")
        return self._process.pid

    def start(self) -> str:
        """Start the server, wait until it serves, and return its address.

        Unavailable when it does not come up, with the last line of its log; OwnedElsewhere when
        another one runs on its state; ConfigurationError when something it needs is not there.
        """
        if platform.system() != "Linux":
            raise ConfigurationError(
                f"the embedded servers run on Linux only, not on {platform.system()}",
                remedy="name servers of your own in PAGESTREAM_KAFKA and PAGESTREAM_DATABASE",
            )
        self.state.mkdir(parents=True, exist_ok=True)
        try:
            self._outlive_predecessor()
            self.prepare()
            self.progress(f"{self.title}: starting")
            port = self._start_on_free_port()
        except BaseException:
            self.kill()
            raise
        self.progress(f"{self.title}: ready")
        return self.address(port)

    def stop(self) -> None:
        """End the server and wait for it; one that takes longer than 30 s is killed."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            kill_family(self._process)

    def abandon(self) -> None:
        """Break off a start that another thread is in the middle of; it raises Unavailable there.

        This object does not start again.
        """
        with self._lock:
            self.abandoned.set()
            self.kill()

    def keep(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Start a process as this server's current one: the one that is killed with it."""
        with self._lock:
            if self.abandoned.is_set():
                raise Unavailable(f"{self.title} was told to stop while it started")
            self._process = start()
            (self.state / "pid").write_text(str(self._process.pid))
            return self._process

    def complete(self, start: Callable[[], subprocess.Popen[bytes]], log: Path) -> None:
        """Run a preparation of this server to its end; Unavailable when it fails."""
        process = self.keep(start)
        if process.wait() != 0:
            raise self._failed(f"could not be prepared (code {process.returncode})", log)

    def _outlive_predecessor(self) -> None:
        """Wait for a server that was killed with its parent a moment ago: it may not be gone."""
        noted = self.state / "pid"
        if noted.exists() and not outlived(int(noted.read_text()), self.state):
            raise OwnedElsewhere(
                f"another {self.title} (process {noted.read_text()}) runs on {self.state}",
                remedy="stop it, or choose another state directory",
            )

    def _start_on_free_port(self) -> int:
        noted = self.state / "port"
        last = int(noted.read_text()) if noted.exists() else None
        for _ in range(_PORT_ATTEMPTS):
            port = free_port(last)
            try:
                self._start_on(port)
            except PortTakenError:
                last = None
                continue
            noted.write_text(str(port))
            return port
        raise self._failed("found each port that it was given in use", self.log)

    def _start_on(self, port: int) -> None:
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".previous.log"))
        self.log.touch()
        process = self.keep(lambda: self.launch(port))
        deadline = time.monotonic() + _START_SECONDS
        while self.ready_line not in (written := self.log.read_bytes()):
            if process.poll() is not None:
                if b"address already in use" in written.lower():
                    raise PortTakenError
                raise self._failed(f"ended with code {process.returncode}", self.log)
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready after {_START_SECONDS:.0f} s", self.log)
            time.sleep(_POLL_SECONDS)

    def _failed(self, how: str, log: Path) -> Unavailable:
        return Unavailable(f"{self.title} {how}: {last_line(log)}", remedy=f"read {log}")
