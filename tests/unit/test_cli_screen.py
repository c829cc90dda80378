"""How figures and times are written for a person, and values for a script."""

from datetime import UTC, datetime, timedelta

import pytest

from pagestream.cli import screen
from schemas.walks import Position, WalkState


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3 * 3600 + 61, "3 h 1 min"),
        (47.9 * 3600, "47 h 54 min"),
        (75 * 3600, "3 d 3 h"),
        (-1, "0 s"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert screen.duration(seconds) == words


def test_how_long_ago_is_told_in_one_unit() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert screen.ago(now - timedelta(seconds=200), now) == "3 min ago"
    assert screen.ago(now, now) == "0 s ago"


def test_numbers_and_spans() -> None:
    assert screen.number(1234567) == "1,234,567"
    assert screen.number(None) == "unknown"
    assert screen.span(timedelta(days=30)) == "30 days"
    assert screen.span(timedelta(hours=2)) == "2 hours"


def test_what_nobody_compared_does_not_look_like_what_was_found_complete() -> None:
    assert screen.status("completed") == "[green]completed[/]"
    assert screen.status("unverified") == "[yellow]unverified[/]"


def test_scripts_get_every_field_also_those_at_their_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = WalkState(site="a.ca", kind="minutes", position=Position(phase="pages"))
    screen.write_json([state])
    written = capsys.readouterr().out
    for field in ("mode", "listed", "error", "cursor"):
        assert f'"{field}":' in written


def test_an_error_is_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    screen.complain("it broke\nat [bold]line[/bold] " + "x" * 200)
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert "[bold]line[/bold]" in written


def test_no_column_is_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = screen.grid("a", "b")
    table.add_row("x" * 90, "y" * 90)
    screen.results().print(table)
    assert "x" * 90 + "  " + "y" * 90 in capsys.readouterr().out


def test_text_to_be_copied_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_lines(screen.pairs({"a" * 60: "b" * 60}))
    assert f"  {'a' * 60}  {'b' * 60}\n" == capsys.readouterr().out
