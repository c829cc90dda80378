"""The test process itself, which no test changes for the next one; and processes beside it."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import structlog

from runtime.logs import QUIETENED

Process = subprocess.Popen[str]

_PROGRAMS: Final = Path(__file__).parent


def pytest_configure() -> None:
    # A runner in the background of a shell ignores SIGINT, and its children would with it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """Begin with logging as it comes, and leave it so: a role under test configures all of it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in QUIETENED:
        logging.getLogger(name).setLevel(logging.NOTSET)


@contextmanager
def program(
    script: str, *arguments: str, environment: Mapping[str, str], **pipes: int
) -> Iterator[Process]:
    """Have a program of this folder as a process; `environment` overlays ours.

    Whatever it is doing when the block ends, it is killed, and what it has written to stderr and
    nobody has read is shown where the test failed.
    """
    process = subprocess.Popen(
        [sys.executable, str(_PROGRAMS / script), *arguments],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
        **pipes,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        if process.stderr is not None and not process.stderr.closed:
            sys.stderr.write(process.communicate()[1] or "")


def wait_until_frozen(process: Process, seconds: float = 40) -> None:
    """Wait until a child has stopped itself, as PAGESTREAM_FREEZE_AT makes it do."""
    deadline = time.monotonic() + seconds
    while not _has_stopped(process.pid):
        assert process.poll() is None, f"it ended, with {process.returncode}, instead of freezing"
        assert time.monotonic() < deadline, f"waited {seconds} s for a process to freeze"
        threading.Event().wait(0.02)


def _has_stopped(pid: int) -> bool:
    """Ask whether a child is stopped now; it can still be waited for."""
    stopped = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    return stopped is not None
