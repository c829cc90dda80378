"""The request limit: it holds in every minute, and only where it should."""

import math
import sys
import threading
import time
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import runtime.http
from producer.pacing import (
    DEFAULT_PER_MINUTE,
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


@given(
    per_minute=st.floats(0.5, 6000),
    gaps=st.lists(st.floats(0, 30) | st.just(0.0), min_size=1, max_size=60),
)
def test_no_minute_holds_more_than_the_limit(per_minute: float, gaps: list[float]) -> None:
    clock = Time()
    limiter = Limiter(per_minute, Metrics(), clock, clock)
    times = []
    for gap in gaps:
        clock.now += gap
        limiter.wait()
        times.append(clock.now)
    assert most_in_a_minute(times) <= math.ceil(per_minute)


def test_minutes_are_counted_right() -> None:
    assert most_in_a_minute([0, 1, 2, 60, 61.5]) == 3


def test_the_first_request_and_one_after_a_pause_go_at_once() -> None:
    clock = Time()
    metrics = Metrics()
    limiter = Limiter(14, metrics, clock, clock)
    limiter.wait()
    clock.now += 60 / 14
    limiter.wait()
    assert clock.now == 1000 + 60 / 14
    assert metrics.registry.get_sample_value(WAITED) == 0


def test_waits_are_counted() -> None:
    clock = Time()
    metrics = Metrics()
    limiter = Limiter(6, metrics, clock, clock)
    for _ in range(3):
        limiter.wait()
    assert clock.now == 1020
    assert metrics.registry.get_sample_value(WAITED) == pytest.approx(20)


def test_a_wait_that_ends_early_goes_on() -> None:
    class Hasty(Time):
        def wait(self, seconds: float, /) -> bool:
            return super().wait(seconds / 2 if seconds > 0.001 else seconds)

    clock = Hasty()
    limiter = Limiter(6, Metrics(), clock, clock)
    limiter.wait()
    limiter.wait()
    assert clock.now == pytest.approx(1010)


def test_without_a_limit_nobody_waits() -> None:
    clock = Time()
    limiter = Limiter(None, Metrics(), clock, clock)
    for _ in range(100):
        limiter.wait()
    assert clock.now == 1000


def test_threads_take_turns() -> None:
    limiter = Limiter(6000, Metrics(), threading.Event())

    def turn(_: int) -> float:
        limiter.wait()
        return time.monotonic()

    with ThreadPoolExecutor(8) as pool:
        times = sorted(pool.map(turn, range(40)))
    assert times[-1] - times[0] >= 39 * 0.01 - 0.01


def test_no_two_threads_take_the_same_turn() -> None:
    waits: list[float] = []

    class Stopped:
        def wait(self, seconds: float, /) -> bool:
            waits.append(seconds)
            return True

    def turns(_: int) -> None:
        for _ in range(4000):
            with suppress(StopRequestedError):
                limiter.wait()

    limiter = Limiter(60, Metrics(), Stopped(), lambda: 0.0)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(turns, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert sorted(waits) == [float(turn) for turn in range(1, 32_000)]


@pytest.mark.parametrize("stop", [threading.Event(), StopSignal()])
def test_a_stop_ends_the_wait(stop: threading.Event | StopSignal) -> None:
    limiter = Limiter(0.1, Metrics(), stop)
    limiter.wait()
    began = time.monotonic()
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(StopRequestedError):
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
