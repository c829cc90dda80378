"""Processes that die with this one, their logs, and the ports that they listen on."""

import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Literal

from runtime.errors import Unavailable

Identity = Literal["self", "namespace", "nobody"]
Command = Sequence[str | Path]

_LAUNCHER: Final = Path(__file__).with_name("launch.py")
# Below the range from which systems take the local ports of outgoing connections: a port chosen
# from that range could be taken between our choice and the server's.
_PORTS: Final = range(20_000, 32_000)


class _Spawner:
    """Starts every process of ours from one thread that lives as long as this process.

    The kernel ends a tied process when the *thread* that started it ends. Through here any thread
    may start a server.
    """

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[
            tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]
        ] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="spawner", daemon=True).start()

    def _serve(self) -> None:
        while True:
            start, started = self._orders.get()
            try:
                started.set_result(start())
            except OSError as error:
                started.set_exception(error)

    def spawn(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Call `start` in the spawner's thread and return the process; OSError as it raises it."""
        started: Future[subprocess.Popen[bytes]] = Future()
        self._orders.put((start, started))
        return started.result()


@cache
def _spawner() -> _Spawner:
    return _Spawner()


# A forked child inherits no threads: it needs a spawner of its own.
os.register_at_fork(after_in_child=_spawner.cache_clear)


def spawn(
    command: Command,
    log: Path,
    *,
    identity: Identity = "self",
    environment: Mapping[str, str] | None = None,
    stdin: Path = Path(os.devnull),
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that dies with this one, in its own session, writing to `log`.

    It works in `directory`, or where this process does. Its own session keeps a terminal's Ctrl-C
    from it: the servers are stopped by us, in order.
    """
    launch = [sys.executable, "-I", "-S", str(_LAUNCHER), identity, str(os.getpid())]
    arguments = [*launch, *map(str, command)]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output, stdin.open("rb") as source:
            return subprocess.Popen(
                arguments,
                stdin=source,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )

    return _spawner().spawn(start)


def last_line(log: Path) -> str:
    """Return the last line of a log that is not blank, cut to 300 characters."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"


def command_line(process_id: int) -> str:
    """Return a process's program and arguments, empty when there is no such process."""
    try:
        return Path(f"/proc/{process_id}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def outlived(process_id: int, state: Path, seconds: float = 20.0) -> bool:
    """Wait until no process with this id works on `state`; tell whether that came about."""
    deadline = time.monotonic() + seconds
    while str(state) in command_line(process_id):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def kill_family(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started, and wait until every one is gone."""
    family = [process.pid, *_descendants(process.pid)]
    for process_id in family if process.poll() is None else family[1:]:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
    process.wait()
    while any(command_line(process_id) for process_id in family[1:]):
        time.sleep(0.01)


def _descendants(process_id: int) -> list[int]:
    try:
        children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    except OSError:
        return []
    return [found for child in map(int, children) for found in (child, *_descendants(child))]


def free_port(preferred: int | None = None) -> int:
    """Return a loopback port that nothing listens on: `preferred` where that can be."""
    candidates = random.sample(_PORTS, 50)
    for port in candidates if preferred is None else [preferred, *candidates]:
        with socket.socket() as probe:
            # As the servers do: without it a port would count as taken for a minute after use.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Unavailable("no free port on 127.0.0.1", remedy="look what listens there")
