"""The books of a run: what the log says of each table's walks, added up without `decide`.

One table's events are told in the order of the ledger; each that contradicts those before it is a
finding, and so is whatever does not add up to the source or to the records of `pages`.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from schemas.events import (
    CommandAnswered,
    Event,
    RowsAmended,
    SourceListed,
    StepWalked,
    WalkEnded,
    WalkFailed,
    WalkStarted,
)
from schemas.records import Page, SiteRemoved, WalkBarrier
from schemas.tables import Table
from schemas.walks import Window

REMEMBERED: Final = 16
"""So many of a table's requests are known again; one that is sent later is done once more."""

_MOST_SHOWN: Final = 5


class TableBooks:
    """What was published of one table.

    `source` has the id of each row that can be stored, with its date; `refused` are the ids of the
    others: nothing changes there.
    """

    def __init__(self, table: Table, source: Mapping[str, str], refused: frozenset[str]) -> None:
        self.findings: list[str] = []
        self.told: Counter[str] = Counter()
        self._table = table
        self._source = source
        self._refused = refused
        self._walk = 0
        self._window: Window | None = None
        self._begin()
        self._accounted: Counter[tuple[int, str]] = Counter()
        self._closed: list[tuple[int, int]] = []
        self._done: list[str] = []

    def _begin(self) -> None:
        self._steps = 0
        self._next: str | None = None
        self._walked: Counter[str] = Counter()
        self._listed: list[str] = []
        self._listed_all = self._ended = False

    def tell(self, event: Event) -> None:
        """Take in the table's next event."""
        self.told[type(event).__name__] += 1
        match event:
            case WalkStarted():
                self._start(event)
            case StepWalked():
                self._step(event)
            case SourceListed():
                self._list(event)
            case WalkEnded():
                self._end(event)
            case WalkFailed():
                self._check(event.walk == self._walk, f"walk {event.walk} failed", "another's")
            case RowsAmended():
                self._amend(event)
            case CommandAnswered():
                self._answer(event)

    def _check(self, holds: bool, what: str, wrong: object) -> None:  # noqa: FBT001 - a condition
        if not holds:
            self.findings.append(f"{self._table.key} walk {self._walk}: {what}: {wrong}")

    def _start(self, event: WalkStarted) -> None:
        self._check(event.walk == self._walk + 1, "forked: begun after it", f"walk {event.walk}")
        self._walk, self._window = event.walk, event.window
        self._begin()

    def _step(self, event: StepWalked) -> None:
        self._take_step(event.walk, event.step)
        cursor = event.position.cursor
        self._check(cursor == self._next, f"forked: step {event.step} should begin at", self._next)
        self._next = event.next
        self._walked.update(event.ids)
        self._accounted.update((event.walk, page_id) for page_id in event.ids)
        twice = [page_id for page_id in event.ids if self._walked[page_id] > 1]
        self._check(not twice, f"{len(twice)} rows published twice", twice[:_MOST_SHOWN])

    def _take_step(self, walk: int, step: int) -> None:
        expected = (self._walk, self._steps)
        self._check((walk, step) == expected, "forked: a step of (walk, step)", (walk, step))
        self._check(not self._ended, "forked: a step after its end", step)
        self._steps = step + 1

    def _list(self, event: SourceListed) -> None:
        self._take_step(event.walk, event.step)
        self._check(not self._listed_all, "a listing that goes on after its end", event.step)
        if event.after is None:
            self._listed = []
        else:
            chained = bool(self._listed) and event.after == self._listed[-1]
            self._check(chained, "a listing that is broken after", event.after)
        self._listed += event.ids
        self._listed_all = event.last

    def _end(self, event: WalkEnded) -> None:
        self._check(not self._ended, "forked", "it ended twice")
        self._ended = True
        same = (event.walk, event.steps) == (self._walk, self._steps)
        self._check(same, "it ended with (walk, steps)", (event.walk, event.steps))
        self._check(self._listed_all, "it ended", "before its listing")
        there = self._within_window()
        walked = there if event.mode != "verify" else set[str]()
        wrong = self._walked.keys() ^ walked
        self._check(not wrong, f"{len(wrong)} rows missed, or of no walk", _some(wrong))
        listed = Counter(self._listed)
        wrong = {page_id for page_id in listed if page_id not in self._refused} ^ there
        self._check(not wrong, f"{len(wrong)} ids listed wrongly", _some(wrong))
        self._check(max(listed.values(), default=1) == 1, "ids listed", "twice")
        self._closed.append((event.barrier, event.walk))

    def _within_window(self) -> set[str]:
        if self._window is None:
            return set(self._source)
        first, last = self._window
        return {page_id for page_id, day in self._source.items() if first <= day <= last}

    def _amend(self, event: RowsAmended) -> None:
        self._check(event.walk == self._walk, "a repair of another walk", event.walk)
        self._closed.append((event.barrier, event.walk))
        for one in event.amendments:
            is_there = one.row_hash is not None
            self._check(is_there == (one.id in self._source), "a repair is wrong of", one.id)
            if is_there:
                self._accounted[event.walk, one.id] += 1

    def _answer(self, event: CommandAnswered) -> None:
        if event.answer == "done":
            twice = event.command_id in self._done[-REMEMBERED:]
            self._check(not twice, "a command done twice", f"{event.command} {event.command_id}")
            self._done.append(event.command_id)

    def compare(self, published: list[Page | WalkBarrier | SiteRemoved]) -> None:
        """Compare all that was told with the table's records of `pages`, in order."""
        pages = Counter((p.walk, p.id) for p in published if isinstance(p, Page))
        wrong = [one for one in pages | self._accounted if pages[one] != self._accounted[one]]
        what = f"{len(wrong)} rows published more or less often than accounted for"
        self._check(not wrong, what, sorted(wrong)[:_MOST_SHOWN])
        barriers = [(b.number, b.walk) for b in published if isinstance(b, WalkBarrier)]
        self._check(barriers == self._closed, f"barriers {barriers} but closed", self._closed)
        numbers = [number for number, _ in barriers]
        self._check(numbers == list(range(1, len(numbers) + 1)), "barriers with gaps", numbers)


def _some(ids: set[str]) -> list[str]:
    return sorted(ids)[:_MOST_SHOWN]
