"""After "too many requests": how long nothing is asked, and who says so."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from producer.pacing import (
    CIRCUIT_SECONDS,
    HOLD_SECONDS,
    Limiter,
    limiter,
)
from runtime.errors import SourceError
from runtime.health import Readiness
from runtime.http import HttpClient
from runtime.metrics import Metrics
from runtime.settings import Settings


class Time:
    """A clock that only waiting moves; as a stop, it is never set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float, /) -> bool:
        self.now += seconds
        return False


def without_limit(clock: Time, **more: Any) -> Limiter:
    return Limiter(None, more.pop("metrics", Metrics()), clock, clock=clock, **more)


def asked_after(clock: Time, limiter: Limiter) -> float:
    """Return the seconds until the limiter lets a request go."""
    began = clock.now
    assert limiter.wait()
    return clock.now - began


def refuse(limiter: Limiter, times: int) -> float:
    """Have so many requests refused, one after the other; return the newest hold."""
    seconds = 0.0
    for _ in range(times):
        limiter.wait()
        seconds = limiter.refused()
    return seconds


class TestHold:
    @pytest.mark.parametrize("per_minute", [None, 14, 6000])
    def test_is_a_minute_and_a_second_with_a_limit_and_without(
        self, per_minute: float | None
    ) -> None:
        clock = Time()
        limiter = Limiter(per_minute, Metrics(), clock, clock=clock)
        assert asked_after(clock, limiter) == 0
        assert limiter.refused() == HOLD_SECONDS
        assert asked_after(clock, limiter) == pytest.approx(HOLD_SECONDS, abs=0.01)

    @pytest.mark.parametrize(
        ("retry_after", "seconds"), [(None, 61), (0, 61), (5, 61), (61.5, 61.5), (300, 300)]
    )
    def test_is_as_long_as_the_source_asks_for(
        self, retry_after: float | None, seconds: float
    ) -> None:
        clock = Time()
        limiter = without_limit(clock)
        limiter.wait()
        assert limiter.refused(retry_after) == seconds
        assert asked_after(clock, limiter) == pytest.approx(seconds, abs=0.01)

    def test_is_longer_from_the_third_in_a_row_on(self) -> None:
        limiter = without_limit(Time())
        assert [refuse(limiter, 1) for _ in range(5)] == [61, 61, 900, 900, 900]

    def test_is_never_shorter_than_the_source_asks_for(self) -> None:
        limiter = without_limit(Time())
        refuse(limiter, 3)
        limiter.wait()
        assert limiter.refused(7200) == 7200

    def test_begins_anew_after_a_request_that_was_taken(self) -> None:
        limiter = without_limit(Time())
        refuse(limiter, 2)
        limiter.wait()
        limiter.accepted()
        assert [refuse(limiter, 1) for _ in range(3)] == [61, 61, CIRCUIT_SECONDS]

    def test_is_left_by_who_is_wanted_no_longer(self) -> None:
        clock = Time()
        limiter = without_limit(clock)
        refuse(limiter, 3)
        assert not limiter.wait(lambda: clock.now < 1200)
        assert 1200 <= clock.now <= 1201

    def test_opens_for_no_burst_where_there_is_a_limit(self) -> None:
        clock = Time()
        limiter = Limiter(62, Metrics(), clock, clock=clock)
        refuse(limiter, 1)
        limiter.wait()
        assert asked_after(clock, limiter) == pytest.approx(1, abs=0.01)


class InTurn:
    """Runs a thread's calls one by one, when it is told to."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def __call__(self, call: Any, *given: Any) -> Any:
        return self._pool.submit(call, *given).result(timeout=30)

    def close(self) -> None:
        self._pool.shutdown()


class TestRequestsUnderWay:
    """When a hold begins, others have been sent: their answers are no news."""

    def test_count_as_one_refusal(self) -> None:
        clock = Time()
        limiter = without_limit(clock)
        with closing(InTurn()) as one, closing(InTurn()) as other, closing(InTurn()) as third:
            for thread in (one, other, third):
                thread(limiter.wait)
            clock.now += 1
            assert one(limiter.refused) == 61
            clock.now += 1
            assert other(limiter.refused) == 60
            # The slowest is answered when the hold is long over.
            clock.now += 100
            assert third(limiter.refused) == 0
            assert refuse(limiter, 1) == 61
            assert refuse(limiter, 1) == 900

    def test_may_bring_the_sources_word(self) -> None:
        clock = Time()
        limiter = without_limit(clock)
        with closing(InTurn()) as one, closing(InTurn()) as other:
            one(limiter.wait)
            other(limiter.wait)
            one(limiter.refused)
            assert other(limiter.refused, 300.0) == 300
            assert asked_after(clock, limiter) == pytest.approx(300, abs=0.01)

    def test_do_not_end_a_row_of_refusals(self) -> None:
        clock = Time()
        limiter = without_limit(clock)
        with closing(InTurn()) as slow:
            refuse(limiter, 1)
            slow(limiter.wait)
            refuse(limiter, 1)
            slow(limiter.accepted)
            clock.now += 100
            slow(limiter.accepted)
            assert refuse(limiter, 1) == 900


class TestWords:
    def test_are_logged_and_counted_at_each_hold(self) -> None:
        metrics = Metrics()
        limiter = without_limit(Time(), metrics=metrics)
        with capture_logs() as logs:
            refuse(limiter, 3)
            limiter.wait()
            limiter.accepted()
            limiter.accepted()
        said = [(log["event"], log.get("asked_again_in")) for log in logs]
        assert said == [
            ("source_refused", 61.0),
            ("source_refused", 61.0),
            ("source_refused", 900.0),
            ("source_accepts_again", None),
        ]
        value = metrics.registry.get_sample_value
        assert value("pagestream_source_refusals_total") == 3
        assert value("pagestream_source_refusals_in_a_row") == 0

    def test_turn_readiness_red_while_the_source_keeps_refusing(self) -> None:
        readiness = Readiness()
        readiness.started()
        limiter = without_limit(Time(), readiness=readiness)
        refuse(limiter, 2)
        assert readiness.reasons() == []
        refuse(limiter, 1)
        (reason,) = readiness.reasons()
        assert "3 requests in a row" in reason
        assert "15 minutes" in reason
        limiter.wait()
        limiter.accepted()
        assert readiness.reasons() == []


class TestSecrets:
    """Requests that carry a site's own secret."""

    @staticmethod
    def of(tmp_path: Path, clock: Time, **settings: Any) -> tuple[Limiter, HttpClient]:
        (tmp_path / "own").write_text("value\n")
        given = Settings(_env_file=None, secrets_directory=tmp_path, **settings)
        http = HttpClient(given)
        return limiter(given, http, Metrics(), clock, clock=clock), http

    def test_need_no_turn_and_take_none(self, tmp_path: Path) -> None:
        clock = Time()
        made, http = self.of(tmp_path, clock)
        with closing(http):
            for _ in range(100):
                assert made.wait(secret="own")  # noqa: S106 - a name
            assert asked_after(clock, made) == 0
            assert clock.now == 1000
            assert asked_after(clock, made) == pytest.approx(62 / 14, abs=0.01)

    def test_are_held_like_others(self, tmp_path: Path) -> None:
        clock = Time()
        made, http = self.of(tmp_path, clock)
        with closing(http):
            made.wait()
            made.refused()
            made.wait(secret="own")  # noqa: S106 - a name
            assert clock.now == pytest.approx(1061, abs=0.01)

    @pytest.mark.parametrize(
        "settings",
        [
            {"requests_per_minute": 6},
            # There it is withheld.
            {"source_url": "http://{subdomain}.civic.example", "requests_per_minute": None},
        ],
    )
    def test_need_a_turn_where_it_is_said_or_they_are_withheld(
        self, tmp_path: Path, settings: dict[str, Any]
    ) -> None:
        clock = Time()
        made, http = self.of(tmp_path, clock, **settings)
        with closing(http):
            made.wait(secret="own")  # noqa: S106 - a name
            made.wait(secret="own")  # noqa: S106 - a name
            assert clock.now > 1004

    def test_that_do_not_exist_take_no_turn(self, tmp_path: Path) -> None:
        clock = Time()
        made, http = self.of(tmp_path, clock)
        with closing(http):
            with pytest.raises(SourceError) as caught:
                made.wait(secret="other")  # noqa: S106 - a name
            assert caught.value.reason == "refused"
            assert asked_after(clock, made) == 0


def test_a_hold_keeps_all_threads_and_then_lets_all_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.pacing.HOLD_SECONDS", 0.3)
    limiter = Limiter(None, Metrics(), threading.Event())
    limiter.wait()
    opens = time.monotonic() + limiter.refused()
    with ThreadPoolExecutor(16) as pool:
        times = list(pool.map(lambda _: limiter.wait() and time.monotonic(), range(16)))
    assert all(at >= opens - 0.01 for at in times)
