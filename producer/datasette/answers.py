"""What came back, before its rows are looked at: by status, then by content type."""

from collections.abc import Mapping
from typing import Final

import msgspec

from runtime.errors import SourceError
from runtime.http import Reason, Received, excerpt, failure

_STATUS_REASONS: Final[dict[int, Reason]] = {
    302: "no_such_site",
    401: "refused",
    402: "rate_limited",
    403: "refused",
    404: "broken_response",
    429: "rate_limited",
}
_OK: Final = 200
_NOT_FOUND: Final = 404
_SERVER_ERRORS: Final = range(500, 600)
# What a query over the source's time limit is answered with: 400 by 0.6x, 500 by 1.0.
_OVER_TIME_STATUSES: Final = frozenset({400, 500})
_OVER_TIME_WORDS: Final = (b"interrupted", b"took too long")
_NO_TABLE: Final = "table not found"

_MEANINGS: Final[Mapping[str, str]] = {
    "interrupted": "the query took longer than the site allows; ask for fewer rows at once",
    "rate_limited": "too many requests for this site",
    "refused": "it does not let us read this table",
    "no_such_site": "it knows no such site",
    "not_found": "it has no such table",
    "server_error": "a fault of the site's own",
}


class _Said(msgspec.Struct):
    error: str


_said: Final = msgspec.json.Decoder(_Said)


def usable_body(received: Received) -> bytes:
    """Return the body of a response that claims to hold rows; SourceError says why it does not."""
    if received.status != _OK:
        raise refusal(received)
    if not _is_json(received):
        kind = _kind(received)
        raise broken(f"it is {kind or 'without a type'}, not JSON", received.body)
    return received.body


def refusal(received: Received) -> SourceError:
    """Return what a status that brings no rows means."""
    status, said = received.status, received.body.lower()
    reason = _STATUS_REASONS.get(status, "broken_response")
    if status in _SERVER_ERRORS:
        reason = "server_error"
    if status in _OVER_TIME_STATUSES and any(word in said for word in _OVER_TIME_WORDS):
        reason = "interrupted"
    if reason == "rate_limited" and b"query_too_long" in said:
        reason = "refused"
    if status == _NOT_FOUND and _says_no_table(received):
        reason = "not_found"
    meaning = _MEANINGS.get(reason, "nothing that a walk knows")
    return failure(reason, f"the source answered {status}: {meaning}", received=received.excerpt)


def broken(what: str, body: bytes) -> SourceError:
    """Return the error of a response that cannot be believed."""
    return failure("broken_response", f"unusable response: {what}", received=excerpt(body))


def _says_no_table(received: Received) -> bool:
    """Tell whether Datasette itself says that it has the database, and no such table in it.

    Any other 404 (a front end's page, a database that is being rebuilt) says nothing about tables.
    """
    try:
        said = _said.decode(received.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return _is_json(received) and said.error.lower().startswith(_NO_TABLE)


def _is_json(received: Received) -> bool:
    return _kind(received) == "application/json"


def _kind(received: Received) -> str:
    return received.content_type.partition(";")[0].strip().lower()
