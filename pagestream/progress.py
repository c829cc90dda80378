"""How far a walk is: rate, share done and time left, from its state alone. Pure.

The source is never asked how much it has. Ids are hashes, spread evenly over all ids of their
length, and a walk goes through them in order: the last id's place among all possible ones is the
share of the pages that lie behind. Where an earlier walk counted the pages, that is better still.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from schemas.walks import Mode, Status, WalkState

_WINDOW_SECONDS: Final = 15.0
_SHORTEST_SPAN: Final = 0.5
_HEX_DIGITS: Final = frozenset("0123456789abcdef")
# A share this small says nothing yet about the whole.
_TELLING_SHARE: Final = 0.002
_ROWS_OF_A_RESPONSE: Final = 1_000
_IDS_OF_A_SLICE: Final = 50_000
_ENDED: Final[frozenset[Status]] = frozenset({"completed", "unverified", "held", "verifying"})


class Outlook(NamedTuple):
    """How far a walk is. None is unknown.

    `share` is from 0 to 1, of all the walk's requests: for its pages, then for the listing of ids.
    `rows` is how many rows there will be, `seconds_left` how long it will take at this rate.
    """

    share: float | None
    rows: int | None
    seconds_left: float | None


class RateMeter:
    """How fast a count grows, over the last 15 seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, at: float, count: float) -> None:
        """Note the count at a time, in seconds on any clock that only goes forward."""
        self._samples.append((at, count))
        while len(self._samples) > 2 and at - self._samples[1][0] >= _WINDOW_SECONDS:  # noqa: PLR2004 - the two ends of the window
            self._samples.popleft()

    def per_second(self) -> float | None:
        """Return the growth per second; None before there is a span to measure it over.

        A count that was begun anew does not grow.
        """
        if not self._samples:
            return None
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        if ended - began < _SHORTEST_SPAN:
            return None
        return max(last - first, 0) / (ended - began)


def place_among_ids(identity: str) -> float | None:
    """Return which share of all ids of this length lies before this one; None unless it is hex."""
    if not identity or not _HEX_DIGITS.issuperset(identity):
        return None
    return int(identity, 16) / (1 << 4 * len(identity))


def rows_walked(ended: WalkState, mode: Mode) -> int | None:
    """Return how many rows a walk in `mode` finds, by one that has come to its end; else None.

    A full walk and a verify walk go over the same rows, an incremental one over those of its dates.
    """
    if ended.status not in _ENDED or (ended.mode == "incremental") != (mode == "incremental"):
        return None
    return ended.listed if ended.mode == "verify" else ended.pages + ended.rejected


def work_done(state: WalkState) -> float:
    """Return how much of its work a walk has done: its pages, and its ids for what they cost."""
    return state.pages + state.rejected + state.listed * _cost_of_an_id(state)


def _cost_of_an_id(state: WalkState) -> float:
    """Return what listing an id costs, where fetching a page costs 1: by requests.

    By SQL 50,000 ids come at once, by paging as many as pages. Until the listing has begun nobody
    knows which it will be; most sites allow SQL.
    """
    paging = state.position is not None and state.position.listed_by == "paging"
    return 1.0 if paging else _ROWS_OF_A_RESPONSE / _IDS_OF_A_SLICE


def expected_rows(state: WalkState, walked_before: int | None = None) -> int | None:
    """Return how many rows the walk will find; None when there is no telling.

    Rows are pages, of a verify walk ids. `walked_before` is what the last walk of its kind found.
    """
    verify = state.mode == "verify"
    found = state.listed if verify else state.pages + state.rejected
    if state.position is None or (state.position.phase == "listing" and not verify):
        return found
    if walked_before is not None and walked_before >= found:
        return walked_before
    share = place_among_ids(state.position.after or "")
    if share is None or share < _TELLING_SHARE:
        return None
    return round(found / share)


def outlook(
    state: WalkState, walked_before: int | None = None, work_per_second: float | None = None
) -> Outlook:
    """Return how far a walk is; `work_per_second` is the rate of `work_done`."""
    rows = expected_rows(state, walked_before)
    if state.position is None:
        return Outlook(1.0, rows, 0.0)
    if rows is None:
        return Outlook(0.0 if state.steps == 0 else None, None, None)
    fetched = 0 if state.mode == "verify" else rows
    whole, done = fetched + rows * _cost_of_an_id(state), work_done(state)
    share = min(done / whole, 1.0) if whole else 1.0
    left = max(whole - done, 0)
    return Outlook(share, rows, left / work_per_second if work_per_second else None)


def together(outlooks: Sequence[Outlook], work_per_second: float | None) -> Outlook:
    """Return how far several walks are in sum; None throughout where one does not tell its size."""
    known = [(one.share, one.rows) for one in outlooks if one.share is not None]
    rows = sum(rows for _, rows in known if rows is not None)
    if len(known) < len(outlooks) or any(rows is None for _, rows in known) or not rows:
        return Outlook(None, None, None)
    left = sum((1 - share) * (rows or 0) for share, rows in known)
    return Outlook(1 - left / rows, rows, left / work_per_second if work_per_second else None)
