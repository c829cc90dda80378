"""What the headers of a response mean, in the forms that the standard allows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_RETRY_AFTER: Final = 86_400.0
"""The most seconds that a source's Retry-After is believed."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After of either form means (RFC 9110, 10.2.3), if any.

    A date counts by the source's own clock where it tells the time: ours may differ from it.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER)
    until = _date(value)
    if until is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
