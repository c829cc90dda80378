"""Every command explains itself, and every error is one line with a fixed code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pagestream.cli import app as command_line
from pagestream.cli.app import run
from runtime.errors import BrokerUnavailable, DataDiffers, NotDone


def every_command(command: Any = None, name: str = "pagestream") -> Iterator[tuple[str, Any]]:
    command = typer.main.get_command(command_line.app) if command is None else command
    inner = getattr(command, "commands", {})
    for each, subcommand in inner.items():
        yield from every_command(subcommand, f"{name} {each}")
    if not inner or command.invoke_without_command:
        yield name, command


COMMANDS = dict(every_command())


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_an_example_of_itself(name: str) -> None:
    assert f"{name}" in COMMANDS[name].help.rpartition("Example: ")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name: str) -> None:
    shown = [option for option in COMMANDS[name].params if not option.hidden]
    assert [option.name for option in shown if not option.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_sentence_fits_into_the_list(name: str) -> None:
    assert len(COMMANDS[name].help.splitlines()[0]) <= 68


@pytest.mark.parametrize("name", COMMANDS)
def test_one_thing_has_one_name_and_a_flag_takes_no_value(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*name.split()[1:], "--help"]) == 0
    shown = capsys.readouterr().out
    assert "-h" in shown
    assert "<bool>" not in shown
    assert "{subdomain}" not in shown
    assert "SUBDOMAIN" not in shown


def test_an_option_of_several_commands_has_one_text() -> None:
    whole = typer.main.get_command(command_line.app)
    commands = [whole, COMMANDS["pagestream up"], COMMANDS["pagestream demo"]]
    texts = {option.help for c in commands for option in c.params if "--state-dir" in option.opts}
    assert len(texts) == 1


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pagestream ")


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    shown = capsys.readouterr()
    assert "backfill" in shown.out + shown.err
    assert "pagestream: " not in shown.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["backfill", "--subdomain", "evil.com/#"], ["is not a subdomain", "lower-case"]),
        (["sites", "add", "x@evil.com"], ["is not a subdomain", "alameda.ca"]),
        (["walks", "--subdomain", "A.ca"], ["is not a subdomain"]),
        (["doctor", "--source", "a..ca"], ["is not a subdomain"]),
        (["backfill"], ["--subdomain", "pagestream backfill --help"]),
        (["backfill", "--subdomain", "a.ca", "--document-type", "votes"], ["votes"]),
        (["backfill", "--subdomain", "a.ca", "--batch-size", "1001"], ["--batch-size", "1000"]),
        (["backfill", "--subdomain", "a.ca", "--mode", "fast"], ["--mode", "incremental"]),
        (
            ["backfill", "--subdomain", "a.ca", "--verify-only", "--mode", "full"],
            ["--verify-only", "--mode full"],
        ),
        (["walk"], ["No such command", "pagestream --help"]),
        (["walks", "paus"], ["No such command", "pause"]),
        (["walks", "--status", "broken"], ["'broken' is none of", "in_progress"]),
        (["walks", "--status", "failed", "cancel", "--all"], ["behind 'cancel'"]),
        (["walks", "pause"], ["name sites or tables", "--all"]),
        (["walks", "cancel", "a.ca", "--all"], ["--all alone"]),
        (["walks", "retry", "--status", "failed", "--all"], ["--all alone"]),
        (["walks", "resume", "a.ca/votes"], ["kind 'votes' is none of"]),
        (["walks", "resume", "a.ca", "b/../c"], ["TARGET", "b/.."]),
        (["walks", "start", "a.ca", "--mode", "fast"], ["--mode"]),
        (["walks", "schedule", "a.ca"], ["--full", "--default"]),
        (["walks", "schedule", "a.ca", "--full", "1d", "--default"], ["--default alone"]),
        (["walks", "schedule", "a.ca", "--full", "often"], ["no span of time", "90d"]),
        (["walks", "schedule", "a.ca", "--full", "0d"], ["--full", "0d"]),
        (["sites", "remove", "A.ca"], ["is not a subdomain"]),
        (["plan", "--subdomain", "a.ca/"], ["is not a subdomain"]),
    ],
    ids=lambda words: " ".join(words),  # noqa: PLW0108 - pytest gives it other things than lists too
)
def test_wrong_usage_is_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    written = capsys.readouterr().err
    assert written.startswith("pagestream: ")
    assert written.count("\n") == 1
    assert [word for word in words if word not in written] == []


def test_a_secret_that_is_given_for_its_name_is_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["sites", "add", "a.ca", "--secret", "Hush-123"]) == 2
    written = capsys.readouterr().err
    assert "a secret's name is lower-case letters" in written
    assert "Hush" not in written


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SINK_BATCH", "0", "PAGESTREAM_SINK_BATCH"),
        ("SOURCE_URL", "https://civic.band", "{subdomain}"),
        ("LOG_LEVEL", "loud", "PAGESTREAM_LOG_LEVEL"),
        ("KAFKA", "host:port", "is not host:port"),
    ],
)
def test_a_wrong_setting_is_one_line(
    name: str,
    value: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(f"PAGESTREAM_{name}", value)
    assert run(["walks"]) == 78
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert words in written
    assert "correct it in the environment or in .env" in written


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NotDone("no", remedy="do"), 1, "pagestream: no — do\n"),
        (DataDiffers("they differ"), 65, "pagestream: they differ\n"),
        (BrokerUnavailable("gone"), 69, "pagestream: gone — it may pass: try again\n"),
        (KeyboardInterrupt(), 130, "pagestream: interrupted\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_expected_error_is_one_line_and_its_code(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command_line, "_command_line", _raising(error))
    assert run([]) == code
    assert capsys.readouterr().err == line


def test_a_mistake_of_ours_is_shown_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "_command_line", _raising(ZeroDivisionError("by nought")))
    assert run([]) == 70
    written = capsys.readouterr().err
    assert "Traceback" in written
    assert "please report it" in written.splitlines()[-1]


def _raising(error: BaseException) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
