"""What is shown of the answers to many requests, and the question before what costs much."""

import json
from typing import Any

import pytest

from pagestream.cli.answers import confirm, show
from pagestream.controls import Reply
from runtime.errors import NotDone


def reply(number: int, answer: Any, reason: str | None = "because") -> Reply:
    return Reply(
        site=f"site{number}.ca",
        kind="minutes",
        answer=answer,
        reason=reason,
        walk=1,
        command="PauseWalk",
        command_id=str(number),
    )


def test_what_was_done_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    show([reply(1, "done", "paused [now]"), reply(2, "unanswered", None)], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["site1.ca/minutes", "done", "paused", "[now]"] for line in lines)
    assert any(line.split() == ["site2.ca/minutes", "unanswered", "logged"] for line in lines)


@pytest.mark.parametrize("answer", ["refused", "stale"])
def test_what_was_not_done_is_said_first_and_is_an_error(
    answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [*(reply(number, "done") for number in range(499)), reply(499, answer)]
    with pytest.raises(NotDone, match=rf"^site499\.ca/minutes: {answer}: because$"):
        show(found, as_json=False)
    written = capsys.readouterr()
    assert "site499.ca/minutes" in written.out.splitlines()[3]
    assert len(written.out.splitlines()) < 30
    assert f"20 of 500 are shown: 1 {answer}, 499 done" in written.err


def test_a_script_gets_every_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotDone, match="and 99 more"):
        show([reply(number, "refused") for number in range(100)], as_json=True)
    assert len(json.loads(capsys.readouterr().out)) == 100


def test_where_nobody_sits_a_question_is_answered_by_an_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    confirm("Delete it?", yes=True)
    with pytest.raises(NotDone, match=r"Delete it\? — to do it, add --yes"):
        confirm("Delete it?", yes=False)


@pytest.mark.parametrize(("typed", "done"), [(True, True), (False, False)])
def test_a_person_is_asked(
    typed: bool,  # noqa: FBT001 - a parameter
    done: bool,  # noqa: FBT001 - a parameter
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: typed)
    if done:
        confirm("Delete it?", yes=False)
    else:
        with pytest.raises(NotDone, match="nothing was done"):
            confirm("Delete it?", yes=False)
