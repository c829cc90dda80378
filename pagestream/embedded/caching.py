"""Where downloads are kept from one start to the next, and how two processes share that place."""

import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import ConfigurationError


def user_cache(environment: Mapping[str, str]) -> Path | None:
    """Return the user's cache directory, made; None for a user who has none that can be written.

    `$XDG_CACHE_HOME`, else `~/.cache`.
    """
    if not (chosen := environment.get("XDG_CACHE_HOME")):
        home = environment.get("HOME")
        chosen = f"{home}/.cache" if home else None
    return _writable(Path(chosen)) if chosen else None


def cache_directory() -> Path:
    """Return our folder in the user's cache, made; ConfigurationError when there can be none.

    A user without a cache gets one in the virtual environment.
    """
    place = user_cache(os.environ) or spare_cache()
    directory = _writable(place / "pagestream")
    if directory is None:
        raise ConfigurationError(
            f"there is no place to keep downloads: {place} cannot be written",
            remedy="set XDG_CACHE_HOME to a directory of yours",
        )
    return directory


def spare_cache() -> Path:
    """Return the cache of a user without one: in the virtual environment."""
    return Path(sys.prefix) / ".cache"


def _writable(directory: Path) -> Path | None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return directory if os.access(directory, os.W_OK | os.X_OK) else None


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is inside this block with the same lock file, then enter it."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
