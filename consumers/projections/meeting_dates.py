"""The date of a meeting, where the source's text is one."""

import re
from datetime import date
from typing import Final

_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def meeting_date(text: str | None) -> date | None:
    """Return the date that a text is, in exactly the form YYYY-MM-DD; None for any other text.

    PostgreSQL is never asked: it would take "today" for a date.
    """
    if text is None or _ISO.fullmatch(text) is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
