"""Fetches: one response, or failure, for exactly its command; and never too many at once."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from producer.decide import FetchedCommand, due
from producer.fetching import AHEAD, Decode, Download, Downloaded, Fetcher, Fetches, decoded
from producer.pacing import StopRequestedError
from producer.responses import Failure, Fetched
from runtime.errors import SourceError
from schemas.commands import TakeStep
from schemas.tables import PARTITIONS
from schemas.walks import Position, WalkState

ANSWER = Failure(reason="server_error", error="the answer")
NUMBER = 7


def step(site: str = "alameda.ca", number: int = 0) -> TakeStep:
    return TakeStep(
        site=site, kind="minutes", walk=1, step=number, position=Position(phase="pages"), rows=10
    )


STEP = step()


def walking(command: TakeStep) -> WalkState:
    """Return the state that waits for this step."""
    state = WalkState(
        site=command.site,
        kind=command.kind,
        status="in_progress",
        walk=command.walk,
        steps=command.step,
        position=command.position,
        size=command.rows,
    )
    assert due(state) == command
    return state


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


class Source:
    """Answers when it is told to."""

    def __init__(self, threads: int = 4) -> None:
        self.asked: list[FetchedCommand] = []
        self.wanted: dict[FetchedCommand, Callable[[], bool]] = {}
        self.answers = threading.Semaphore(0)
        self.fetches = Fetches(Fetcher(self._download, threads))

    def _download(self, command: FetchedCommand, wanted: Callable[[], bool]) -> Decode:
        self.asked.append(command)
        self.wanted[command] = wanted
        assert self.answers.acquire(timeout=10)
        if not wanted():
            raise StopRequestedError("nobody waits for it")
        return lambda: ANSWER

    def begin(self, command: FetchedCommand = STEP, number: int = NUMBER) -> None:
        self.fetches.begin(number, command, alone=False)

    def is_asked(self, times: int) -> None:
        """Wait until it has been asked so often."""
        until(lambda: len(self.asked) >= times)
        assert len(self.asked) == times

    def result(self, command: FetchedCommand = STEP) -> Fetched | Downloaded | None:
        until(lambda: self.fetches.result(NUMBER, command) is not None)
        return self.fetches.result(NUMBER, command)


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.answers.release(1000)


def result_of(download: Download, *, alone: bool = False) -> Fetched | Downloaded:
    fetches = Fetches(Fetcher(download, 1))
    fetches.begin(NUMBER, STEP, alone=alone)
    until(lambda: fetches.result(NUMBER, STEP) is not None)
    result = fetches.result(NUMBER, STEP)
    assert result is not None
    return result


def raising(error: Exception) -> Download:
    def download(_command: FetchedCommand, _wanted: Callable[[], bool]) -> Decode:
        raise error

    return download


# What comes of one


def test_a_source_error_becomes_the_walks_failure() -> None:
    error = SourceError("rate_limited", "no", received="<html>", retry_after=30.0)
    failure = Failure(reason="rate_limited", error="no", received="<html>", retry_after=30.0)
    assert result_of(raising(error)) == failure


def test_an_error_that_only_decoding_finds_is_the_same() -> None:
    def broken() -> Fetched:
        raise SourceError("broken_response", "not JSON")

    failure = Failure(reason="broken_response", error="not JSON")
    assert result_of(lambda _command, _wanted: broken) == failure
    assert decoded(Downloaded(broken), STEP) == failure


def test_a_mistake_of_ours_fails_the_walk_it_met_and_no_other() -> None:
    failure = result_of(raising(ZeroDivisionError("mistake")))
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.error) == ("unexpected", "ZeroDivisionError: mistake")


def test_on_probation_it_is_downloaded_and_not_decoded() -> None:
    def deadly() -> Fetched:
        raise AssertionError("decoded in the background")

    assert result_of(lambda _command, _wanted: deadly, alone=True) == Downloaded(deadly)


def test_told_to_stop_a_step_has_no_outcome_at_all() -> None:
    told = threading.Event()

    def download(_command: FetchedCommand, _wanted: Callable[[], bool]) -> Decode:
        told.set()
        raise StopRequestedError("told to stop")

    fetcher = Fetcher(download, 1)
    fetches = Fetches(fetcher)
    fetches.begin(NUMBER, STEP, alone=False)
    assert told.wait(10)
    until(lambda: fetcher.running.allows(NUMBER))
    assert fetches.result(NUMBER, STEP) is None


# Kept for its command


def test_it_is_begun_once_and_used_where_its_command_comes_again(source: Source) -> None:
    for _ in range(3):
        source.begin()
        source.is_asked(1)
    source.fetches.settle(NUMBER, walking(STEP))
    source.answers.release()
    assert source.result() == ANSWER
    assert source.asked == [STEP]


def test_it_is_of_no_use_to_any_other_command(source: Source) -> None:
    source.begin()
    source.answers.release()
    assert source.result() == ANSWER
    later = replace(STEP, attempt=1)
    assert source.fetches.result(NUMBER, later) is None
    source.begin(later)
    source.is_asked(2)
    assert source.fetches.result(NUMBER, STEP) is None


def test_nobody_waits_for_it_when_its_table_does_not_any_more(source: Source) -> None:
    source.begin()
    source.is_asked(1)
    assert source.wanted[STEP]()
    source.fetches.settle(NUMBER, replace(walking(STEP), status="paused"))
    assert not source.wanted[STEP]()
    source.answers.release()
    until(lambda: source.fetches._of[NUMBER][STEP.table].ended)  # noqa: SLF001 - there is nothing else to see
    assert source.fetches.result(NUMBER, STEP) is None


def test_given_up_and_wanted_again_it_is_asked_for_once(source: Source) -> None:
    source.begin()
    source.is_asked(1)
    source.fetches.settle(NUMBER, replace(walking(STEP), status="paused"))
    source.begin()
    assert source.wanted[STEP]()
    source.answers.release()
    assert source.result() == ANSWER
    assert source.asked == [STEP]


def test_what_left_unwanted_is_asked_for_anew(source: Source) -> None:
    source.begin()
    source.is_asked(1)
    source.fetches.settle(NUMBER, replace(walking(STEP), status="paused"))
    source.answers.release()
    until(lambda: source.fetches._of[NUMBER][STEP.table].lost)  # noqa: SLF001 - there is nothing else to see
    source.begin()
    source.is_asked(2)
    source.answers.release()
    assert source.result() == ANSWER


def test_what_waits_for_a_thread_and_is_not_wanted_is_never_asked() -> None:
    source = Source(threads=1)
    source.begin(step("a"))
    source.is_asked(1)
    source.begin(STEP)
    source.fetches.settle(NUMBER, replace(walking(STEP), status="cancelled"))
    source.begin(step("b"), 8)
    source.answers.release(2)
    source.is_asked(2)
    assert source.asked == [step("a"), step("b")]


def test_a_partition_that_is_dropped_keeps_nothing(source: Source) -> None:
    source.begin()
    source.answers.release()
    assert source.result() == ANSWER
    source.begin(step("other"))
    source.is_asked(2)
    source.fetches.drop(NUMBER)
    assert source.fetches.result(NUMBER, STEP) is None
    assert not source.wanted[step("other")]()


# Never too many


@contextmanager
def crowded() -> Iterator[Source]:
    """Have every request hang, and as many of them ahead as may be."""
    source = Source(threads=PARTITIONS + AHEAD)
    for number in range(AHEAD + 1):
        source.begin(step(f"ahead-{number}"), NUMBER)
    source.is_asked(AHEAD + 1)
    try:
        yield source
    finally:
        source.answers.release(1000)


def test_one_of_each_partition_always_has_its_request_in_flight() -> None:
    with crowded() as source:
        assert not source.fetches.begin_ahead(NUMBER, step("one-more"), alone=False)
        for number in range(PARTITIONS):
            if number != NUMBER:
                source.begin(step(f"head-{number}"), number)
        source.is_asked(PARTITIONS + AHEAD)
        for number in range(PARTITIONS):
            assert not source.fetches.begin_ahead(number, step("one-more"), alone=False)
            source.begin(step("one-more"), number)
        assert len(source.asked) == PARTITIONS + AHEAD


def test_what_hangs_and_is_wanted_no_longer_takes_only_its_own_partitions_place() -> None:
    with crowded() as source:
        source.fetches.drop(NUMBER)
        source.begin(step("head"), NUMBER)
        source.begin(step("head"), NUMBER + 1)
        source.is_asked(AHEAD + 2)
        assert source.asked[-1] == step("head")
        assert source.fetches.result(NUMBER, step("head")) is None
        source.answers.release(1000)
        source.begin(step("head"), NUMBER)
        until(lambda: source.fetches.result(NUMBER + 1, step("head")) == ANSWER)


def test_answered_and_not_used_counts_as_ahead_until_it_is_used() -> None:
    with crowded() as source:
        source.answers.release(AHEAD + 1)
        for number in range(AHEAD + 1):
            assert source.result(step(f"ahead-{number}")) == ANSWER
        assert not source.fetches.begin_ahead(NUMBER, step("one-more"), alone=False)
        source.begin(step("at-the-head"), NUMBER)
        source.is_asked(AHEAD + 2)
        for number in range(2):
            used = step(f"ahead-{number}")
            source.fetches.settle(NUMBER, replace(walking(used), steps=1))
        assert source.fetches.begin_ahead(NUMBER, step("one-more"), alone=False)
