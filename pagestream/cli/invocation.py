"""What all commands share: the settings in force, and logs that keep quiet beside a result."""

from pathlib import Path

import msgspec
import typer

from pagestream.environment import effective_settings
from runtime import logs
from runtime.settings import Settings


class Invocation(msgspec.Struct):
    """What was given before the command's name; `up_file` is the running `up` that was found."""

    state_directory: Path | None = None
    up_file: Path | None = None


def settings_of(context: typer.Context, **given: object) -> Settings:
    """Return the settings in force; ConfigurationError names those that are wrong."""
    invocation = context.ensure_object(Invocation)
    if invocation.state_directory is not None:
        given.setdefault("state_directory", invocation.state_directory)
    settings, invocation.up_file = effective_settings(**given)
    return settings


def quiet_settings_of(context: typer.Context, **given: object) -> Settings:
    """Return the settings in force for a command whose screen is not a log.

    What goes wrong there is said in one line, so that the log is only written when it is asked
    for, by PAGESTREAM_LOG_LEVEL.
    """
    settings = settings_of(context, **given)
    asked_for = "log_level" in settings.model_fields_set
    logs.configure(
        settings if asked_for else settings.model_copy(update={"log_level": "error"}),
    )
    return settings
