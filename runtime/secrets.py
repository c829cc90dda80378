"""Sites' own service secrets: found by name in the environment or a folder, and never shown.

A record of a site names its secret; the value stays in the surroundings of the process that asks.
It is looked up for each request, so that a changed one counts at once.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from pydantic_settings import DotEnvSettingsSource

from runtime.errors import ConfigurationError, SourceError
from runtime.settings import Settings

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_VARIABLE: Final = "PAGESTREAM_SECRET_"
_MAX_BYTES: Final = 8192


def is_secret_name(name: str) -> bool:
    """Tell whether `name` can name a secret: lower-case letters, digits, underscores.

    It becomes part of a variable's and a file's name, so everything else (`../x`) is refused here.
    """
    return _NAME.fullmatch(name) is not None


def sendable(secret: SecretStr | None) -> SecretStr | None:
    """Return the setting's secret, or None for an empty one; ConfigurationError if unusable."""
    value = secret.get_secret_value() if secret else ""
    if not _fits_header(value):
        raise ConfigurationError(
            "source_secret holds characters that no header can carry",
            remedy="set PAGESTREAM_SOURCE_SECRET to the secret alone, without a line end",
        )
    return secret if value else None


class Secrets:
    """Named secrets: the environment's and `.env`'s PAGESTREAM_SECRET_<NAME>, then the folder's."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.secrets_directory

    def named(self, name: str) -> SecretStr:
        """Return a secret's value; SourceError, which never says it, when there is none to send."""
        if not is_secret_name(name):
            # Not said: whoever gave a secret's value for its name must not find it in a log.
            raise SourceError(
                "refused",
                "the site's record names a secret that none can be called: a name is lower-case "
                "letters, digits and underscores; name it anew with `pagestream sites add`",
            )
        variable = _VARIABLE + name.upper()
        value = _from_environment(variable)
        if value is None and self._directory is not None:
            value = _from_file(self._directory / name)
        if not value or not _fits_header(value):
            lack = "holds characters that no header can carry" if value else "is not to be found"
            raise SourceError(
                "refused",
                f"the site's secret {name} {lack}: set {variable}, or put it alone into the file "
                f"{name} in PAGESTREAM_SECRETS_DIRECTORY, and retry",
            )
        return SecretStr(value)


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def _from_environment(variable: str) -> str | None:
    if (value := os.environ.get(variable)) is not None:
        return value
    # pydantic's way of reading the file in which the settings stand; it lower-cases the names.
    return DotEnvSettingsSource(Settings, env_file=".env").env_vars.get(variable.lower())


def _from_file(path: Path) -> str | None:
    """Return a file's text without its line end, or None where no plain file can be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            text = file.read(_MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return None
    return text.removesuffix("\n").removesuffix("\r")
