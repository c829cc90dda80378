"""Spans of time as a person writes them: `90d`, `12h`, `30m`, `45s`, plain seconds, `never`."""

import re
from typing import Final

LONGEST_SECONDS: Final = 10 * 365 * 86_400.0

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_WRITTEN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?([smhdw]?)", re.ASCII)


def parse_every(text: str) -> float | None:
    """Return how many seconds lie between two times of something; None for `never`.

    Raises ValueError for what is no span, for none at all, and for more than ten years.
    """
    if text == "never":
        return None
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no span of time: write 90d, 12h, 30m, 45s or never")
    seconds = float(found[1]) * _UNITS[found[2]]
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"{text!r} is not between a moment and ten years")
    return seconds


def write_every(seconds: float | None) -> str:
    """Return the shortest text that `parse_every` reads as these seconds."""
    if seconds is None:
        return "never"
    for unit in ("w", "d", "h", "m"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"
