"""What every message has in common: an immutable record with a version in its type header."""

from typing import ClassVar

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record on a topic. Fields are only ever added, with a default, and never change meaning.

    Adding a field that an older reader must not overlook raises `version`: that reader then stops
    at a command or a state instead of acting on half of it.
    """

    version: ClassVar[int] = 1
