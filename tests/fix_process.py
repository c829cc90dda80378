"""The test process itself: nothing that one test or its shell has set reaches the next test."""

import logging
import signal
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
