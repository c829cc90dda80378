"""The errors' tree: three fates, one exit code each, and the docstring that draws it."""

import re
from typing import Final

import pytest

from runtime import errors
from runtime.errors import (
    ConfigurationError,
    PagestreamError,
    RecordError,
    Retry,
    SourceError,
    Stop,
)

FATES: Final = (Retry, RecordError, Stop)
DRAWN: Final = re.compile(
    r"^ {4}(?P<indent>[│ ]*)[├└]── (?P<name>\w+) +(?P<code>\d*)", re.MULTILINE
)


def defined() -> dict[str, type[PagestreamError]]:
    return {
        name: thing
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, PagestreamError)
    }


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn = {match["name"]: match for match in DRAWN.finditer(str(errors.__doc__))}

    assert {"PagestreamError", *drawn} == set(defined())
    for name, match in drawn.items():
        error = defined()[name]
        depth = 1 if not match["indent"] else 2
        assert error.mro().index(PagestreamError) == depth, f"{name} is drawn in another place"
        if issubclass(error, Stop) and error is not Stop:
            assert int(match["code"]) == error.exit_code


def test_every_error_has_exactly_one_fate() -> None:
    for error in defined().values():
        if error is not PagestreamError:
            assert sum(issubclass(error, fate) for fate in FATES) == 1


def test_every_reason_to_stop_has_its_own_exit_code() -> None:
    codes = [stop.exit_code for stop in Stop.__subclasses__() if stop.__module__ == errors.__name__]

    assert len(set(codes)) == len(codes)
    assert set(codes) <= {1, *range(64, 79)}


def test_a_stop_is_one_line_with_its_remedy() -> None:
    error = ConfigurationError("topic pages: missing", remedy="run `pagestream topics --create`")

    assert str(error) == "topic pages: missing — run `pagestream topics --create`"
    assert error.remedy == "run `pagestream topics --create`"
    assert str(ConfigurationError("it is so")) == "it is so"


def test_errors_carry_what_a_handler_needs() -> None:
    source = SourceError("timeout", "it took too long", received="<html>")
    record = RecordError("unstorable", "too wide", sqlstate="54000")

    assert (source.reason, str(source), source.received) == (
        "timeout",
        "it took too long",
        "<html>",
    )
    assert (record.reason, str(record), record.sqlstate) == ("unstorable", "too wide", "54000")


@pytest.mark.parametrize("error", [Exception, OSError, ValueError])
def test_what_is_not_ours_has_no_fate(error: type[Exception]) -> None:
    assert not issubclass(error, FATES)
