"""How far a walk is: rate, share done and time left, from its state alone. Pure.

The source is never asked how much it has. Ids are hashes, spread evenly over all ids of their
length, and a walk goes through them in order: the last id's place among all possible ones is the
share of the pages that lie behind. Where an earlier walk counted the pages, that is better still.
"""

from collections import deque
from typing import Final, NamedTuple

from schemas.walks import WalkState

_WINDOW_SECONDS: Final = 15.0
_SHORTEST_SPAN: Final = 0.5
_HEX_DIGITS: Final = frozenset("0123456789abcdef")
# A share this small says nothing yet about the whole.
_TELLING_SHARE: Final = 0.002


class Outlook(NamedTuple):
    """How far a walk is. None is unknown.

    `share` is from 0 to 1, of all the walk's requests: pages first, then as many for the ids.
    `pages` is how many pages there will be, `seconds_left` how long it will take at this rate.
    """

    share: float | None
    pages: int | None
    seconds_left: float | None


class RateMeter:
    """How fast a count grows, over the last 15 seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, at: float, count: int) -> None:
        """Note the count at a time, in seconds on any clock that only goes forward."""
        self._samples.append((at, count))
        while len(self._samples) > 2 and at - self._samples[1][0] >= _WINDOW_SECONDS:  # noqa: PLR2004 - the two ends of the window
            self._samples.popleft()

    def per_second(self) -> float | None:
        """Return the growth per second; None before there is a span to measure it over."""
        if not self._samples:
            return None
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        if ended - began < _SHORTEST_SPAN:
            return None
        return (last - first) / (ended - began)


def place_among_ids(identity: str) -> float | None:
    """Return which share of all ids of this length lies before this one; None unless it is hex."""
    if not identity or not _HEX_DIGITS.issuperset(identity):
        return None
    return int(identity, 16) / (1 << 4 * len(identity))


def work_done(state: WalkState) -> int:
    """Return how many rows the walk has asked for so far: pages, then ids."""
    return state.pages + state.rejected + state.listed


def expected_pages(state: WalkState, walked_before: int | None = None) -> int | None:
    """Return how many pages the walk will find; None when there is no telling.

    `walked_before` is what the last whole walk of this table found.
    """
    found = state.pages + state.rejected
    if state.position is None or state.position.phase == "listing":
        return found
    if walked_before is not None and walked_before >= found:
        return walked_before
    share = place_among_ids(state.position.after or "")
    if share is None or share < _TELLING_SHARE:
        return None
    return round(found / share)


def outlook(
    state: WalkState, walked_before: int | None = None, rows_per_second: float | None = None
) -> Outlook:
    """Return how far a walk is; `rows_per_second` is the rate of `work_done`."""
    pages = expected_pages(state, walked_before)
    if state.position is None:
        return Outlook(1.0, pages, 0.0)
    if pages is None:
        return Outlook(0.0 if state.steps == 0 else None, None, None)
    rows, done = 2 * pages, work_done(state)
    share = min(done / rows, 1.0) if rows else 1.0
    left = max(rows - done, 0)
    return Outlook(share, pages, left / rows_per_second if rows_per_second else None)
