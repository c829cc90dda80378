"""What a person sees while walks go on: within 80 columns, nothing cut, nothing made up."""

import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from pagestream.backfilling import FollowedWalk, Stored
from pagestream.cli.live import LiveWalks, walks_table
from schemas.walks import Position, WalkState


def followed(site: str = "alameda.ca", stored: Stored | None = None, **fields: Any) -> FollowedWalk:
    """Return a walk that has come to these fields within ten seconds."""
    walk = FollowedWalk(WalkState(site=site, kind="minutes"))
    for second in range(11 if fields else 0):
        now = fields | {"pages": fields["pages"] * second // 10}
        walk.see(WalkState(site=site, kind="minutes", walk=1, **now))
        walk.measure(float(second))
    walk.stored = stored
    return walk


def shown(*walks: FollowedWalk) -> list[str]:
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(walks_table(walks, "caption"))
    return [line.rstrip() for line in captured.get().splitlines()]


GOING: dict[str, Any] = {
    "status": "in_progress",
    "pages": 2_000_000,
    "steps": 2_000,
    "position": Position(phase="pages", after="4"),
}


def row(lines: list[str], name: str = "alameda.ca/minutes") -> list[str]:
    (line,) = (line for line in lines if name in line)
    assert "…" not in line
    return line.split()


def test_a_walk_that_goes_on() -> None:
    cells = row(shown(followed(stored=Stored(created=1_999_000), **GOING)))
    figures = ["25%", "2,000,000", "1,999,000", "200,000"]
    assert cells[2:] == [*figures, "31", "s"]


def test_before_the_first_state_it_waits() -> None:
    assert row(shown(followed()))[1:] == ["waiting"]


def test_what_the_database_does_not_say_is_unknown() -> None:
    assert "unknown" in row(shown(followed(**GOING)))


def test_ids_that_are_no_hashes_give_no_share() -> None:
    fields = GOING | {"position": Position(phase="pages", after="page-7")}
    cells = row(shown(followed(stored=Stored(), **fields)))
    assert cells[1:] == ["unknown", "2,000,000", "0", "200,000"]


def test_the_listing_is_named() -> None:
    fields = GOING | {"position": Position(phase="listing")}
    assert "listing" in row(shown(followed(stored=Stored(), **fields)))


def test_a_walk_that_is_over_waits_for_the_sink() -> None:
    cells = row(
        shown(followed(stored=Stored(created=5), status="unverified", pages=100, barrier=1))
    )
    assert cells[1:] == ["unverified", "100%", "100", "5", "storing"]


def test_many_walks_are_cut_to_a_screen() -> None:
    lines = shown(*(followed(f"site{number}.ca", **GOING) for number in range(100)))
    assert len(lines) < 24
    assert any("and 88 more" in line for line in lines)


def test_walks_under_way_stand_before_those_that_wait() -> None:
    waiting = [followed(f"wait{number}.ca") for number in range(50)]
    lines = shown(*waiting, followed("going.ca", **GOING))
    assert any("going.ca/minutes" in line for line in lines[:4])


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_a_walk_that_waits_to_be_tried_again_says_so() -> None:
    fields = GOING | {"retry_at": later(40.5), "attempt": 2, "error": "no answer in 30 s"}
    assert row(shown(followed(stored=Stored(), **fields)))[1:3] == ["try", "3"]
    fields |= {"refusals": 1, "attempt": 0}
    cells = row(shown(followed(stored=Stored(), **fields)))
    assert cells[1:3] == ["must", "wait"]
    assert cells[-3:-1] == ["in", "40"]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def last_line(live: LiveWalks, clock: Clock, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is said after nothing has happened for twelve seconds."""
    live.show()
    clock.now += 12
    live.show()
    return capsys.readouterr().err.strip()


NO_PROGRESS = (
    "no progress for 12 s: does `pagestream run walker` run? "
    "A slow source, or the request limit, can be the reason too"
)


def test_a_walker_that_is_silent_is_asked_after(capsys: pytest.CaptureFixture[str]) -> None:
    walk, clock = followed(stored=Stored(created=2_000_000), **GOING), Clock()
    live = LiveWalks([walk], clock)
    expected = "0 of 1 walks over, 2,000,000 pages fetched, 2,000,000 stored, 25% done; "
    assert last_line(live, clock, capsys) == expected + NO_PROGRESS
    walk.see(WalkState(site="alameda.ca", kind="minutes", walk=1, **GOING))
    clock.now += 5
    live.show()
    assert capsys.readouterr().err.strip() == expected.removesuffix("; ")


def test_a_walk_that_has_not_begun_is_asked_after_too(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    line = last_line(LiveWalks([followed(stored=Stored())], clock), clock, capsys)
    assert line.endswith(NO_PROGRESS)


def test_a_sink_that_is_silent_is_asked_after(capsys: pytest.CaptureFixture[str]) -> None:
    walk, clock = followed(stored=Stored(), status="unverified", pages=100, barrier=1), Clock()
    line = last_line(LiveWalks([walk], clock), clock, capsys)
    assert line.endswith("; nothing is being stored: does `pagestream run sink` run?")


def test_on_a_terminal_the_hint_takes_the_place_of_the_caption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr("pagestream.cli.moving.remarks", lambda: console)
    clock = Clock()
    with LiveWalks([followed(stored=Stored(), **GOING)], clock) as live:
        live.show()
        clock.now += 12
        live.show()
    words = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue()).split()
    assert NO_PROGRESS in " ".join(words)


def test_elsewhere_than_on_a_terminal_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveWalks([followed(stored=Stored(), **GOING)]) as live:
        for _ in range(50):
            live.show()
    assert capsys.readouterr().err == ""


def test_many_walks_are_summed_up_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    walks = [followed(f"site{number}.ca", stored=Stored(created=5), **GOING) for number in range(9)]
    walks.append(followed("bad.ca", stored=Stored(), status="failed", pages=0, error="timeout"))
    clock = Clock()
    live = LiveWalks(walks, clock)
    live.show()
    for walk in walks[:9]:
        walk.see(
            WalkState(site=walk.table.site, kind="minutes", walk=1, **GOING | {"pages": 2_100_000})
        )
    clock.now += 6
    live.show()
    line = capsys.readouterr().err
    assert line.startswith("1 of 10 walks over (1 failed), 18,900,000 pages fetched, 45 stored")
    assert "26% done, 150,000 pages/s" in line or "25% done, 150,000 pages/s" in line
    assert "left" in line


def test_why_the_source_is_not_asked_now_comes_before_other_guesses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    waits = GOING | {"retry_at": later(600), "refusals": 3, "error": "the source answered 402"}
    walks = [followed(f"site{number}.ca", stored=Stored(), **waits) for number in range(3)]
    clock = Clock()
    line = last_line(LiveWalks(walks, clock), clock, capsys)
    assert "site0.ca/minutes: must wait, " in line
    assert "the source answered 402 (and 2 more wait)" in line
    assert "run walker" not in line
