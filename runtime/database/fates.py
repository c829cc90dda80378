"""What each of PostgreSQL's errors means here: try again, this row is at fault, or stop.

    retry           the server is away, full, locked, restarting, or chose us to give way
    dead-letter     the value cannot be stored, whoever asks and however often
    stop            a person has to change something, or a promise of ours was broken

Decided by SQLSTATE, first by the whole code and then by its class (the first two characters); see
PostgreSQL's manual, appendix A.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from runtime.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InternalError,
    PagestreamError,
    RecordError,
)

UNSTORABLE: Final = "unstorable"
"""The dead-letter reason of a row that PostgreSQL refused."""

CANCELLED: Final = "57014"
"""The SQLSTATE of a statement that ran into a deadline: worth trying again, but not for ever."""

_LOCKED: Final = "55P03"

_RETRY: Final = frozenset(
    {
        "25P03",  # idle in transaction for too long
        "25P04",  # the transaction ran into its deadline
        "55006",  # object in use
        _LOCKED,  # lock not available in time
        CANCELLED,
        "57P01",  # the server is being shut down
        "57P02",  # a process of the server crashed
        "57P03",  # the server is starting up
        "57P05",  # idle for too long
    }
)
# Connection lost, transaction rolled back in favour of another, resources, input and output,
# snapshot too old. A full disk is 53100: every row is good.
_RETRY_CLASSES: Final = frozenset({"08", "40", "53", "58", "72"})

# What a wrong type in a binary COPY ends as; the class is that of lost connections.
_RECORD: Final = frozenset({"08P01"})
# Cardinality, data, integrity, size limits.
_RECORD_CLASSES: Final = frozenset({"21", "22", "23", "54"})

# The remedy for each class that a person can mend.
_REMEDIES: Final = {
    "0A": "use PostgreSQL 15 or newer",
    "0P": "check the role in PAGESTREAM_DATABASE",
    "25006": "point PAGESTREAM_DATABASE at the primary: this server only reads",
    "28": "check user and password in PAGESTREAM_DATABASE",
    "3D": "create the database, or correct its name in PAGESTREAM_DATABASE",
    "3F": "run `pagestream migrate`",
    "42": "run `pagestream migrate`, and check the role's privileges",
    "42501": "grant the role in PAGESTREAM_DATABASE what it needs",
    "57P04": "the database was dropped: create it and run `pagestream migrate`",
    "F0": "look into the server's log",
}

_FOREIGN_KEY: Final = "23503"
_OUR_SCHEMA: Final = re.compile(r"pagestream(_\d+|_log)?")

# A refused connection carries no SQLSTATE, only the server's words; in another language than these
# the start still fails with the server's own sentence, and a running process waits.
_REFUSALS: Final = (
    ("password authentication failed", _REMEDIES["28"]),
    ("no password supplied", _REMEDIES["28"]),
    ("no pg_hba.conf entry", "allow this host and role in the server's pg_hba.conf"),
    ("is not permitted to log in", _REMEDIES["28"]),
    ("permission denied for database", _REMEDIES["42501"]),
    ("does not support SSL", "correct sslmode in PAGESTREAM_DATABASE"),
    ("certificate verify failed", "correct sslrootcert in PAGESTREAM_DATABASE"),
)
_NAMELESS: Final = re.compile(r'(role|database) "[^"]*" does not exist')


@contextmanager
def door() -> Iterator[None]:
    """Let PostgreSQL's errors out of this block only as this program's own.

    Raises DatabaseUnavailable, RecordError, ConfigurationError or InternalError; the original is
    its cause.
    """
    try:
        yield
    except (psycopg.Error, UnicodeEncodeError) as error:
        raise fate(error) from error


def fate(error: psycopg.Error | UnicodeEncodeError) -> PagestreamError:
    """Return this program's error for one of psycopg's, or for text that is not UTF-8."""
    if isinstance(error, UnicodeEncodeError):
        return RecordError(UNSTORABLE, str(error))
    if error.sqlstate is None:
        return _fate_without_code(error)
    return _fate_by_code(error, error.sqlstate)


def is_cancelled(error: PagestreamError) -> bool:
    """Tell whether the database gave up because a statement ran into its deadline."""
    return getattr(error.__cause__, "sqlstate", None) == CANCELLED


def is_locked_out(error: PagestreamError) -> bool:
    """Tell whether a statement gave up waiting for what another transaction holds."""
    return getattr(error.__cause__, "sqlstate", None) == _LOCKED


def _fate_by_code(error: psycopg.Error, code: str) -> PagestreamError:
    message = f"{_one_line(error)} (SQLSTATE {code})"
    if code == _FOREIGN_KEY and _OUR_SCHEMA.fullmatch(error.diag.schema_name or ""):
        # What our own key points to is written in the same transaction: somebody removed it.
        return DatabaseUnavailable(message)
    if code in _RECORD:
        return RecordError(UNSTORABLE, message, sqlstate=code)
    if code in _RETRY or code[:2] in _RETRY_CLASSES:
        return DatabaseUnavailable(message)
    if code[:2] in _RECORD_CLASSES:
        return RecordError(UNSTORABLE, message, sqlstate=code)
    remedy = _REMEDIES.get(code) or _REMEDIES.get(code[:2])
    if remedy is not None:
        return ConfigurationError(f"PostgreSQL refused: {message}", remedy=remedy)
    return InternalError(f"PostgreSQL refused: {message}")


def _fate_without_code(error: psycopg.Error) -> PagestreamError:
    message = _one_line(error)
    if isinstance(error, psycopg.DataError):
        return RecordError(UNSTORABLE, message)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        remedy = _refusal(message)
        if remedy is not None:
            return ConfigurationError(f"PostgreSQL refused: {message}", remedy=remedy)
        return DatabaseUnavailable(message)
    return InternalError(f"the database library refused: {message}")


def _refusal(message: str) -> str | None:
    for words, remedy in _REFUSALS:
        if words in message:
            return remedy
    found = _NAMELESS.search(message)
    if found is None:
        return None
    return _REMEDIES["28"] if found[1] == "role" else _REMEDIES["3D"]


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
