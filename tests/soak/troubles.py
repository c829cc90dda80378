"""What goes wrong at the source: drawn by chance, and made to happen at a site's plot."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from fault_bodies import cut_gzip, half_in_chunks, half_of_declared
from fault_source import (
    Act,
    Plot,
    anything,
    as_it_is,
    giving,
    page_of_html,
    refusing,
    sent_as,
)
from fix_scripted_source import Answer, Asked, Line, answer, hang_up

What = Literal[
    "error",
    "html",
    "interrupted",
    "too_many",
    "too_many_without_word",
    "cut",
    "cut_chunks",
    "cut_gzip",
    "empty",
    "hang_up",
    "slow",
]

_EVERY_SECONDS: Final = 0.8
_MOST_TIMES: Final = 6
_SLOW_SECONDS: Final = 1.5
_TOO_MANY: Final = {"error": "rate_limit_exceeded", "message": "15 a minute"}
_INTERRUPTED: Final = {"ok": False, "error": "SQL query took too long", "title": "SQL Interrupted"}


def _slowly(plot: Plot, asked: Asked) -> Answer:
    def give(line: Line) -> None:
        if line.pause(_SLOW_SECONDS):
            as_it_is(plot, asked)(line)

    return give


_ACTS: Final[Mapping[What, Act]] = {
    "error": refusing(500, {"ok": False, "error": "no such luck"}),
    "html": page_of_html(503),
    "interrupted": refusing(500, _INTERRUPTED),
    "too_many": refusing(402, _TOO_MANY, {"Retry-After": "1"}),
    "too_many_without_word": giving(answer(json.dumps(_TOO_MANY), status=402)),
    "cut": sent_as(half_of_declared),
    "cut_chunks": sent_as(half_in_chunks),
    "cut_gzip": sent_as(cut_gzip),
    "empty": giving(answer()),
    "hang_up": giving(hang_up()),
    "slow": _slowly,
}


@dataclass(frozen=True, order=True)
class Trouble:
    """From `at` on, for `seconds`, the next `times` requests to a site meet `what`."""

    at: float
    what: What
    site: str
    seconds: float
    times: int

    def __str__(self) -> str:
        often = "once" if self.times == 1 else f"{self.times} times"
        return f"{self.at:5.1f} s  {self.what} at {self.site} {often}, within {self.seconds:.1f} s"

    def begin(self, plot: Plot) -> None:
        """Have it happen from now on."""
        plot.trouble(anything, _ACTS[self.what], self.times)


def draw_troubles(
    chance: random.Random, seconds: float, sites: tuple[str, ...]
) -> tuple[Trouble, ...]:
    """Draw what goes wrong within so many seconds."""
    return tuple(
        sorted(
            Trouble(
                at=round(chance.uniform(0, seconds), 2),
                what=chance.choice(list(_ACTS)),
                site=chance.choice(sites),
                seconds=round(chance.uniform(1, 6), 2),
                times=chance.randint(1, _MOST_TIMES),
            )
            for _ in range(max(2, int(seconds / _EVERY_SECONDS)))
        )
    )
