"""The request limit: it holds in every minute, and only where it should."""

import math
import sys
import threading
import time
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import runtime.http
from producer.pacing import (
    DEFAULT_PER_MINUTE,
    SLACK_SECONDS,
    Limiter,
    StopRequestedError,
    requests_per_minute,
)
from runtime.http import HttpClient
from runtime.lifecycle import StopSignal
from runtime.metrics import Metrics
from runtime.settings import Settings

WAITED = "pagestream_limiter_wait_seconds_total"


class Time:
    """A clock that only waiting moves; as a stop, it is never set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float, /) -> bool:
        self.now += seconds
        return False


def most_in_a_minute(times: list[float]) -> int:
    """Return the most times within any 60 s, the end not included."""
    return max(bisect_left(times, at + 60 - 1e-6) - i for i, at in enumerate(times))


def limiter_of(per_minute: float | None, clock: Time, **more: Any) -> Limiter:
    return Limiter(per_minute, more.pop("metrics", Metrics()), clock, clock=clock, **more)


@given(
    per_minute=st.floats(0.5, 6000),
    gaps=st.lists(st.floats(0, 30) | st.just(0.0), min_size=1, max_size=60),
    delays=st.lists(st.floats(0, SLACK_SECONDS), min_size=60, max_size=60),
    refused=st.sets(st.integers(0, 59), max_size=4),
    unwanted=st.sets(st.integers(0, 59), max_size=20),
)
def test_no_minute_holds_more_than_the_limit(
    per_minute: float,
    gaps: list[float],
    delays: list[float],
    refused: set[int],
    unwanted: set[int],
) -> None:
    """Of requests that arrive, each somewhat after its turn."""
    clock = Time()
    limiter = limiter_of(per_minute, clock)
    times = []
    for number, gap in enumerate(gaps):
        clock.now += gap
        wanted = number not in unwanted
        if limiter.wait(partial(bool, wanted)):
            times.append(clock.now + delays[number])
        if number in refused:
            limiter.refused()
    assert most_in_a_minute(sorted(times) or [0]) <= math.ceil(per_minute)


def test_minutes_are_counted_right() -> None:
    assert most_in_a_minute([0, 1, 2, 60, 61.5]) == 3


def test_the_first_request_and_one_after_a_pause_go_at_once() -> None:
    clock, metrics = Time(), Metrics()
    limiter = limiter_of(14, clock, metrics=metrics)
    assert limiter.wait()
    clock.now += 62 / 14
    assert limiter.wait()
    assert clock.now == 1000 + 62 / 14
    assert metrics.registry.get_sample_value(WAITED) == 0


def test_waits_are_counted() -> None:
    clock, metrics = Time(), Metrics()
    limiter = limiter_of(6, clock, metrics=metrics)
    for _ in range(3):
        limiter.wait()
    assert clock.now == pytest.approx(1000 + 2 * 62 / 6, abs=0.01)
    assert metrics.registry.get_sample_value(WAITED) == pytest.approx(2 * 62 / 6, abs=0.01)


def test_a_wait_that_ends_early_goes_on() -> None:
    class Hasty(Time):
        def wait(self, seconds: float, /) -> bool:
            return super().wait(seconds / 2 if seconds > 0.001 else seconds)

    clock = Hasty()
    limiter = limiter_of(6, clock)
    limiter.wait()
    limiter.wait()
    assert clock.now == pytest.approx(1000 + 62 / 6, abs=0.1)


def test_a_request_that_went_late_moves_those_behind_it() -> None:
    class Sluggish(Time):
        def wait(self, seconds: float, /) -> bool:
            return super().wait(seconds + 1 if seconds else 0)

    clock = Sluggish()
    limiter = limiter_of(60, clock)
    times = []
    for _ in range(5):
        limiter.wait()
        times.append(clock.now)
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))


def test_without_a_limit_nobody_waits() -> None:
    clock = Time()
    limiter = limiter_of(None, clock)
    for _ in range(100):
        assert limiter.wait()
    assert clock.now == 1000


class TestTurns:
    """Of many threads."""

    def test_are_taken_one_after_the_other(self) -> None:
        limiter = Limiter(6000, Metrics(), threading.Event())

        def turn(_: int) -> float:
            limiter.wait()
            return time.monotonic()

        with ThreadPoolExecutor(8) as pool:
            times = sorted(pool.map(turn, range(40)))
        assert times[-1] - times[0] >= 39 * 0.0103 - 0.01

    def test_are_never_taken_twice(self) -> None:
        clock = Time()
        taken: list[int] = []

        def turns(number: int) -> None:
            for _ in range(2000):
                with suppress(StopRequestedError):
                    limiter.wait()
                    taken.append(number)

        class Stopped:
            """Ends every wait that is not over at once."""

            def wait(self, seconds: float, /) -> bool:
                return seconds > 0

        limiter = Limiter(60, Metrics(), Stopped(), clock=clock)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(turns, range(8)))
        finally:
            sys.setswitchinterval(interval)
        assert len(taken) == 1

    def test_come_in_the_order_of_asking(self) -> None:
        limiter = Limiter(600, Metrics(), threading.Event())
        limiter.wait()
        order: list[int] = []
        queued = threading.Semaphore(0)

        def wanted() -> bool:
            queued.release()  # it is asked only of who has taken its place
            return True

        def turn(number: int) -> None:
            limiter.wait(wanted)
            order.append(number)

        with ThreadPoolExecutor(6) as pool:
            for number in range(6):
                pool.submit(turn, number)
                assert queued.acquire(timeout=30)
        assert order == sorted(order)

    def test_pass_nobody_who_is_late_in_taking_his(self) -> None:
        limiter = Limiter(6000, Metrics(), threading.Event())
        first, looks = threading.Event(), threading.Semaphore(0)
        queued = threading.Event()

        def late() -> bool:
            queued.set()
            return first.wait(30)

        def behind() -> bool:
            looks.release()
            return True

        with ThreadPoolExecutor(2) as pool:
            head = pool.submit(limiter.wait, late)
            assert queued.wait(30)
            second = pool.submit(limiter.wait, behind)
            for _ in range(100):  # of a millisecond each: ten turns
                assert looks.acquire(timeout=30)
            assert not second.done()
            first.set()
            assert head.result(timeout=30)
            assert second.result(timeout=30)

    def test_are_left_to_others_by_who_is_wanted_no_longer(self) -> None:
        clock = Time()
        limiter = limiter_of(1, clock)
        limiter.wait()
        assert not limiter.wait(lambda: clock.now < 1030)
        assert 1030 <= clock.now <= 1031
        assert limiter.wait()
        assert clock.now == pytest.approx(1062, abs=0.01)

    def test_are_left_by_who_waits_in_the_middle_too(self) -> None:
        limiter = Limiter(0.001, Metrics(), threading.Event())
        limiter.wait()
        wanted = [True, True]
        with ThreadPoolExecutor(2) as pool:
            ahead = pool.submit(limiter.wait, lambda: wanted[0])
            behind = pool.submit(limiter.wait, lambda: wanted[1])
            wanted[1] = False
            assert behind.result(timeout=30) is False
            assert not ahead.done()
            wanted[0] = False
            assert ahead.result(timeout=30) is False

    def test_are_not_needed_by_who_is_wanted_no_longer(self) -> None:
        clock = Time()
        limiter = limiter_of(1, clock)
        assert not limiter.wait(lambda: False)
        assert limiter.wait()
        assert clock.now == 1000


class TestStop:
    @pytest.mark.parametrize("stop", [threading.Event(), StopSignal()])
    def test_ends_the_wait(self, stop: threading.Event | StopSignal) -> None:
        limiter = Limiter(0.1, Metrics(), stop)
        limiter.wait()
        began = time.monotonic()
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(StopRequestedError):
            limiter.wait()
        assert time.monotonic() - began < 30

    def test_ends_a_hold(self) -> None:
        stop = threading.Event()
        limiter = Limiter(None, Metrics(), stop)
        limiter.refused()
        began = time.monotonic()
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(StopRequestedError):
            limiter.wait()
        assert time.monotonic() - began < 30

    def test_lets_nothing_more_go(self) -> None:
        stop = threading.Event()
        stop.set()
        with pytest.raises(StopRequestedError):
            Limiter(None, Metrics(), stop).wait()

    def test_leaves_the_turn_to_nobody(self) -> None:
        stop = threading.Event()
        limiter = Limiter(60, Metrics(), stop)
        limiter.wait()
        stop.set()
        for _ in range(5):
            with pytest.raises(StopRequestedError):
                limiter.wait()
        stop.clear()
        began = time.monotonic()
        limiter.wait()
        assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, DEFAULT_PER_MINUTE),
        ({"source_secret": "s"}, None),
        ({"source_secret": "s", "requests_per_minute": 3}, 3),
        ({"source_secret": ""}, DEFAULT_PER_MINUTE),
        ({"source_url": "http://{subdomain}.civic.example", "source_secret": "s"}, 14),
        ({"source_url": "http://{subdomain}.localhost:8001"}, None),
        ({"source_url": "http://{subdomain}.localhost:8001", "requests_per_minute": 3}, 3),
        ({"source_connect": "127.0.0.1:8001"}, DEFAULT_PER_MINUTE),  # a tunnel to civic.band
        ({"source_connect": "[::1]:8001"}, DEFAULT_PER_MINUTE),
        ({"source_connect": "localhost:8001"}, DEFAULT_PER_MINUTE),
        (
            {
                "source_url": "http://{subdomain}.localhost:8001",
                "source_connect": "127.0.0.1:8001",
            },
            None,
        ),
        ({"source_connect": "10.0.0.1:8001"}, DEFAULT_PER_MINUTE),
        (
            {
                "source_url": "http://{subdomain}.localhost:8001",
                "source_connect": "10.0.0.1:8001",
            },
            DEFAULT_PER_MINUTE,
        ),
    ],
)
def test_the_limit_is_on_unless_it_need_not_be(
    settings: dict[str, Any], limit: float | None
) -> None:
    with closing(HttpClient(of(**settings))) as http:
        assert requests_per_minute(of(**settings), http) == limit


def of(**settings: Any) -> Settings:
    unset = {"source_connect": None, "source_secret": None, "requests_per_minute": None}
    return Settings(_env_file=None, **{**unset, **settings})


def test_a_secret_that_is_withheld_lifts_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.http, "is_loopback", lambda _: False)
    settings = of(source_url="http://{subdomain}.localhost", source_secret=SecretStr("s"))
    with closing(HttpClient(settings)) as http:
        assert requests_per_minute(settings, http) == DEFAULT_PER_MINUTE
