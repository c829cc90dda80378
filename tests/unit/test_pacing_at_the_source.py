"""The request limit as the source counts it: by the requests that arrive, from all threads."""

import threading
import time
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from fix_scripted_source import Line, Scripted, ScriptedSource, answer

from producer.pacing import Limiter, limiter
from runtime.http import HttpClient
from runtime.metrics import Metrics
from runtime.settings import Settings


class Counting:
    """Answers, and notes when each request came; refuses what is over `most` within `window` s."""

    def __init__(self, most: int, window: float) -> None:
        self._lock = threading.Lock()
        self._most, self._window = most, window
        self.times: list[float] = []
        self.refused = 0

    def __call__(self, line: Line) -> None:
        with self._lock:
            now = time.monotonic()
            over = len(self.times) - bisect_left(self.times, now - self._window) >= self._most
            self.times.append(now)
            self.refused += over
        answer('{"error": "rate_limit_exceeded"}' if over else "{}", status=402 if over else 200)(
            line
        )


def ask(http: HttpClient, pace: Limiter, number: int) -> int:
    """Send one request as its turn comes, and say how it went; return its status."""
    pace.wait()
    received = http.get(f"site-{number % 7}", "/", {})
    if received.status == 402:
        pace.refused(received.retry_after)
    else:
        pace.accepted()
    return received.status


def ask_all(source: ScriptedSource, requests: int, **settings: Any) -> list[int]:
    """Ask many sites from 16 threads; return every status."""
    given = Settings(_env_file=None, source_url=source.source_url, **settings)
    with closing(HttpClient(given)) as http, ThreadPoolExecutor(16) as pool:
        pace = limiter(given, http, Metrics(), threading.Event())
        return list(pool.map(lambda number: ask(http, pace, number), range(requests)))


def test_no_window_holds_more_than_the_limit(scripted: Scripted) -> None:
    """A request may be half a second on its way: that is what the two figures leave room for."""
    count = Counting(most=50, window=2)
    assert ask_all(scripted.start(count), 80, requests_per_minute=1200) == [200] * 80
    assert max(count.times) - min(count.times) >= 79 * 0.05 - 0.5


def test_without_a_limit_a_window_holds_more(scripted: Scripted) -> None:
    """The control arm: the source does refuse what is over the limit."""
    count = Counting(most=50, window=30)
    given = Settings(_env_file=None, source_url=scripted.start(count).source_url)
    with closing(HttpClient(given)) as http, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: http.get(f"site-{number % 7}", "/", {}), range(80)))
    assert count.refused == 30
