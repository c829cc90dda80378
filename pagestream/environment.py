"""Where the servers of a running `pagestream up` are, for other commands in the same folder.

`up` writes the addresses to a file in its state directory and holds a lock on that file for as long
as it lives; the system drops the lock with the process, however it ends. So a file without a lock
is left over, and nobody connects to servers that are gone.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from runtime.errors import ConfigurationError
from runtime.settings import Settings, load

FILE_NAME: Final = "environment"

_DECIDED_BY_HAND: Final = frozenset({"kafka", "database"})


@contextmanager
def published(state: Path, variables: Mapping[str, str]) -> Iterator[Path]:
    """Keep a file with these variables valid for as long as the block runs; yield its path.

    It can be sourced by a shell. It holds a password, so that only its owner may read it.
    """
    path = state / FILE_NAME
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        # A reader holds the lock for an instant to see whether it is free.
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate()
        file.writelines(f"export {name}={_quoted(v)}\n" for name, v in variables.items())
        file.flush()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _quoted(value: str) -> str:
    """Return a value in quotes that a shell and a reader of .env files both understand."""
    if value.isprintable() and "\\" not in value:
        if "'" not in value:
            return f"'{value}'"
        if not set('"$`') & set(value):
            return f'"{value}"'
    raise ConfigurationError(
        f"{value!r} holds characters that no settings file can carry",
        remedy="choose a state directory with a plainer name",
    )


def in_force(state: Path) -> Path | None:
    """Return the file of the `pagestream up` that runs on this state directory, if one does."""
    path = state / FILE_NAME
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return path
    except OSError:  # none there, or not ours to read
        return None
    return None


def effective_settings(**given: Any) -> tuple[Settings, Path | None]:
    """Return the settings, and the file of a running `pagestream up` where it gave some of them.

    Whoever names Kafka or a database means another installation: then the file is left out as a
    whole, lest half of one installation be mixed with half of another.
    """
    settings = load(**given)
    if settings.model_fields_set & _DECIDED_BY_HAND:
        return settings, None
    path = in_force(settings.state_directory)
    return (settings, None) if path is None else (load(path, **given), path)
