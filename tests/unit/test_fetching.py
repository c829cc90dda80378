"""Fetches in the background: a response, a failure of its own walk, or nothing at a stop."""

import threading
from concurrent.futures import wait

from producer.fetching import Fetcher
from producer.pacing import StopRequestedError
from producer.responses import Failure, Fetched
from runtime.errors import SourceError
from schemas.commands import TakeStep
from schemas.walks import Position

STEP = TakeStep(
    site="alameda.ca", kind="minutes", walk=1, step=0, position=Position(phase="pages"), rows=10
)


def raising(error: Exception) -> Fetched:
    def fetch(_step: TakeStep) -> Fetched:
        raise error

    return Fetcher(fetch, 1).submit(STEP).result(10)


def test_a_source_error_becomes_the_walks_failure() -> None:
    error = SourceError("timeout", "no answer", received="<html>")
    assert raising(error) == Failure(reason="timeout", error="no answer", received="<html>")


def test_a_mistake_of_ours_fails_the_walk_it_met_and_no_other() -> None:
    failure = raising(ZeroDivisionError("mistake"))
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.error) == ("unexpected", "ZeroDivisionError: mistake")


def test_told_to_stop_a_step_has_no_outcome_at_all() -> None:
    told = threading.Event()

    def fetch(_step: TakeStep) -> Fetched:
        told.set()
        raise StopRequestedError("told to stop")

    response = Fetcher(fetch, 1).submit(STEP)
    assert told.wait(10)
    done, _ = wait([response], timeout=0.2)
    assert done == set()
