"""The test process itself, which no test changes for the next one; and processes that stop."""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
import structlog

from runtime.logs import QUIETENED


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


def wait_until_frozen(process: subprocess.Popen[str], seconds: float = 40) -> None:
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
