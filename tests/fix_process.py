"""The test process itself: nothing that one test or its shell has set reaches the next test."""

import signal
from collections.abc import Iterator

import pytest
import structlog


def pytest_configure() -> None:
    # A runner in the background of a shell ignores SIGINT, and its children would with it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """Begin with structlog as it comes."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
