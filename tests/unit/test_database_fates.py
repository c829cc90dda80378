"""The database door's errors: none of the library's, and no SQLSTATE, is left without a fate."""

import inspect
import re
from typing import Final

import psycopg
import pytest
from psycopg import errors

from runtime.database.fates import door, fate, is_cancelled
from runtime.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InternalError,
    PagestreamError,
    RecordError,
)

RETRY: Final = "DatabaseUnavailable"
RECORD: Final = "RecordError"
CONFIGURATION: Final = "ConfigurationError"
INTERNAL: Final = "InternalError"

# The first that fits decides.
EXPECTED: Final = (
    ("08P01", RECORD),
    ("08...", RETRY),
    ("25P03|25P04", RETRY),
    ("25006", CONFIGURATION),
    ("(21|22|23|54)...", RECORD),
    ("(40|53|58|72)...", RETRY),
    ("55006|55P03", RETRY),
    ("57014|57P01|57P02|57P03|57P05", RETRY),
    ("57P04", CONFIGURATION),
    ("(0A|0P|28|3D|3F|42|F0)...", CONFIGURATION),
    (
        "(02|03|09|0B|0F|0L|0Z|10|20|24|25|26|27|2B|2D|2F|34|38|39|3B|44|55|57|HV|P0|XX)...",
        INTERNAL,
    ),
)

WITHOUT_CODE: Final = {
    "Error": INTERNAL,
    "DatabaseError": INTERNAL,
    "InterfaceError": RETRY,
    "OperationalError": RETRY,
    "ConnectionTimeout": RETRY,
    "CancellationTimeout": RETRY,
    "PipelineAborted": RETRY,
    "_WaitTimeout": RETRY,
    "DataError": RECORD,
    "IntegrityError": INTERNAL,
    "InternalError": INTERNAL,
    "ProgrammingError": INTERNAL,
    "NotSupportedError": INTERNAL,
}

ALL: Final = [
    thing
    for _, thing in inspect.getmembers(errors, inspect.isclass)
    if issubclass(thing, psycopg.Error)
]


def test_the_library_has_about_as_many_errors_as_when_this_was_written() -> None:
    assert len(ALL) > 250


@pytest.mark.parametrize("error", ALL, ids=lambda error: f"{error.sqlstate}-{error.__name__}")
def test_each_of_the_librarys_errors_has_its_fate(error: type[psycopg.Error]) -> None:
    if error.sqlstate is None:
        expected = WITHOUT_CODE[error.__name__]
    else:
        fitting = [name for code, name in EXPECTED if re.fullmatch(code, error.sqlstate)]
        assert fitting, f"nothing is said of SQLSTATE {error.sqlstate}"
        expected = fitting[0]

    assert type(fate(error("words"))).__name__ == expected


def test_a_code_that_nobody_knows_stops() -> None:
    class Unheard(psycopg.DatabaseError):
        sqlstate = "ZZ999"

    assert isinstance(fate(Unheard("words")), InternalError)


def test_text_that_is_not_utf8_is_the_rows_own_fault() -> None:
    with pytest.raises(RecordError) as caught, door():
        "\ud800".encode()

    assert (caught.value.reason, caught.value.sqlstate) == ("unstorable", None)


def test_the_row_says_which_code_refused_it() -> None:
    with pytest.raises(RecordError, match="22003") as caught, door():
        raise errors.NumericValueOutOfRange("too\nlarge")

    assert caught.value.sqlstate == "22003"
    assert isinstance(caught.value.__cause__, errors.NumericValueOutOfRange)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ('FATAL:  password authentication failed for user "x"', "user and password"),
        ('FATAL:  role "x" does not exist', "user and password"),
        ('FATAL:  database "x" does not exist', "create the database"),
        ("fe_sendauth: no password supplied", "user and password"),
        ('FATAL:  no pg_hba.conf entry for host "h"', "pg_hba.conf"),
        ("server does not support SSL, but SSL was required", "sslmode"),
        ("SSL error: certificate verify failed", "sslrootcert"),
    ],
)
def test_a_refused_connection_stops_and_says_what_to_do(words: str, remedy: str) -> None:
    error = fate(psycopg.OperationalError(words))

    assert isinstance(error, ConfigurationError)
    assert remedy in str(error)


@pytest.mark.parametrize(
    "words",
    ["Connection refused", "the connection is lost", "FATAL:  the database system is starting up"],
)
def test_a_server_that_is_away_is_waited_for(words: str) -> None:
    assert isinstance(fate(psycopg.OperationalError(words)), DatabaseUnavailable)


def test_our_own_errors_pass_the_door_as_they_are() -> None:
    with pytest.raises(PagestreamError, match="mine"), door():
        raise PagestreamError("mine")


def test_a_statement_that_ran_into_its_deadline_can_be_told() -> None:
    for error, expected in ((errors.QueryCanceled, True), (errors.AdminShutdown, False)):
        with pytest.raises(DatabaseUnavailable) as caught, door():
            raise error
        assert is_cancelled(caught.value) is expected
