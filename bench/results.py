"""What a run of the benchmarks found: a file, and how each figure reads."""

from statistics import median, quantiles
from typing import Final, Literal

import msgspec

from bench.machine import Machine

FILE: Final = "bench/results.json"

Unit = Literal["pages/s", "ratio", "MB", "s"]


class Figure(msgspec.Struct):
    """One figure: its values, a round each, and what is wanted of them.

    `of` says which of the values is judged: the median, or the 95th percentile of a deadline.
    """

    part: str
    name: str
    unit: Unit
    values: list[float]
    of: Literal["median", "p95"] = "median"
    at_least: float | None = None
    at_most: float | None = None

    @property
    def value(self) -> float:
        """The median, or the 95th percentile."""
        if self.of == "median" or len(self.values) == 1:
            return median(self.values)
        return quantiles(self.values, n=20, method="inclusive")[-1]

    @property
    def reached(self) -> bool | None:
        """Whether it is what was wanted; None where nothing was."""
        if self.at_least is not None:
            return self.value >= self.at_least
        if self.at_most is not None:
            return self.value <= self.at_most
        return None


class Results(msgspec.Struct, kw_only=True):
    """A whole run: when, where, with how many pages, and every figure."""

    at: str
    machine: Machine
    pages: int
    page_bytes: int
    figures: list[Figure]


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Return each round's ratio."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]
