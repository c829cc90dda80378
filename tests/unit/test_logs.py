"""Logs: one event with fields a line, for machines or for people, and never a secret."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import pytest
import structlog
from pydantic import SecretStr

from runtime.logs import configure, logger
from runtime.settings import load

SECRET: Final = "correct-horse-battery-staple"  # noqa: S105 - it is there to be looked for


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give the test runner its own logging back."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def logs_to(
    stream: io.StringIO,
    log_format: Literal["auto", "text", "json"] = "json",
    log_level: Literal["debug", "info", "warning", "error"] = "info",
) -> None:
    configure(load(log_format=log_format, log_level=log_level), stream=stream)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_a_line_of_json_with_its_fields() -> None:
    logs_to(stream := io.StringIO())

    logger("walker").info("walk_started", table="alameda.ca/minutes", walk=3)

    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "walk_started",
        "role": "walker",
        "level": "info",
        "table": "alameda.ca/minutes",
        "walk": 3,
    }


def test_a_person_on_a_terminal_gets_text_and_everything_else_json() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    logs_to(terminal, "auto")
    logger("sink").warning("batch_retried", seconds=0.5)
    logs_to(pipe, "auto")
    logger("sink").warning("batch_retried", seconds=0.5)

    assert "batch_retried" in terminal.getvalue()
    with pytest.raises(json.JSONDecodeError):
        lines(terminal)
    assert lines(pipe)[0]["event"] == "batch_retried"


def test_text_has_the_fields_and_no_colours_where_there_is_no_terminal() -> None:
    logs_to(stream := io.StringIO(), "text")

    logger("sink").warning("batch_retried", seconds=0.5)

    assert all(part in stream.getvalue() for part in ("batch_retried", "role=sink", "seconds=0.5"))
    assert "\x1b" not in stream.getvalue()


def test_what_is_less_severe_than_the_setting_is_not_written() -> None:
    logs_to(stream := io.StringIO(), log_level="warning")

    logger("walker").info("states_restored")
    logging.getLogger("librdkafka").info("connected")
    logger("walker").warning("due_steps_given_again")
    logging.getLogger("librdkafka").warning("broker_down")

    assert [line["event"] for line in lines(stream)] == ["due_steps_given_again", "broker_down"]


def test_other_libraries_lines_are_of_the_same_kind() -> None:
    logs_to(stream := io.StringIO())

    logging.getLogger("librdkafka").error("%s is down", "broker 1")

    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("broker 1 is down", "error")
    assert "timestamp" in line


@pytest.mark.parametrize("name", ["httpx", "httpcore", "psycopg.pool", "alembic"])
def test_libraries_that_say_too_much_are_quiet(name: str) -> None:
    logs_to(stream := io.StringIO(), log_level="debug")

    logging.getLogger(name).info("GET https://alameda.ca.civic.band/meetings.json?secret")
    logging.getLogger(name).warning("worth_knowing")

    assert [line["event"] for line in lines(stream)] == ["worth_knowing"]


def test_an_exception_is_part_of_its_event() -> None:
    logs_to(stream := io.StringIO())
    try:
        int("of no use")
    except ValueError:
        logger("walker").exception("fetch_broke", step=4)

    (line,) = lines(stream)
    assert (line["event"], line["step"]) == ("fetch_broke", 4)
    assert "ValueError: invalid literal" in line["exception"]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_secret_is_never_written(log_format: Literal["json", "text"]) -> None:
    stream = io.StringIO()
    settings = load(
        database=SecretStr(f"postgresql://ana:{SECRET}@db.example/pagestream"),
        source_secret=SecretStr(SECRET),
        log_format=log_format,
    )
    configure(settings, stream=stream)

    logger("cli").info("settings", settings=settings)
    logger("cli").info("settings", **settings.model_dump())
    logger("cli").info("secret", value=settings.source_secret, nested={"in": [settings.database]})
    logging.getLogger("other").warning("%s %r", settings, settings.source_secret)
    logging.getLogger("other").warning("%s", settings.model_dump_json())

    assert len(stream.getvalue().splitlines()) >= 5
    assert SECRET not in stream.getvalue()
    assert "**********" in stream.getvalue()


def test_configuring_again_writes_each_line_once() -> None:
    logs_to(io.StringIO())
    logs_to(stream := io.StringIO())

    logging.getLogger("other").warning("said_once")
    logger("cli").warning("said_once_too")

    assert [line["event"] for line in lines(stream)] == ["said_once", "said_once_too"]
