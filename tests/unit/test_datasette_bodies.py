"""What came back, before its rows are looked at: its status, its type, and whether it is empty."""

from datetime import UTC, datetime

import pytest

from producer.datasette.answers import usable_body
from producer.datasette.decoding import Rows, decode_ids, decode_rows
from runtime.errors import SourceError
from runtime.http import Received
from schemas.commands import TakeStep
from schemas.walks import Position

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FIRST_STEP = TakeStep(
    site="alameda.ca", kind="minutes", walk=1, step=0, position=Position(phase="pages"), rows=1000
)
JSON = "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (302, "", "no_such_site"),
        (401, "", "refused"),
        (403, "", "refused"),
        (402, '{"error": "rate_limit_exceeded"}', "rate_limited"),
        (402, '{"error": "query_too_long"}', "refused"),
        (429, "", "rate_limited"),
        (404, '{"ok": false, "error": "Table not found", "status": 404}', "not_found"),
        (404, '{"ok": false, "error": "Table not found: minutes", "status": 404}', "not_found"),
        (404, '{"ok": false, "error": "Database not found", "status": 404}', "broken_response"),
        (404, '{"ok": false, "error": 404}', "broken_response"),
        (404, '["Table not found"]', "broken_response"),
        (404, "Table not found", "broken_response"),
        (404, "", "broken_response"),
        (500, '{"error": "QueryInterrupted: interrupted"}', "interrupted"),
        (
            400,
            '{"error": "<p>SQL query took too long.", "title": "SQL Interrupted"}',
            "interrupted",
        ),
        (500, "<h1>Error</h1>", "server_error"),
        (502, "", "server_error"),
        (503, "interrupted by maintenance", "server_error"),
        (599, "", "server_error"),
        (400, '{"error": "_size must be <= 1000"}', "broken_response"),
        (301, "", "broken_response"),
        (204, "", "broken_response"),
        (418, "", "broken_response"),
        (600, "", "broken_response"),
    ],
)
def test_the_status_decides_first(status: int, body: str, reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        usable_body(Received(status, JSON, body.encode()))
    assert (caught.value.reason, caught.value.received) == (reason, body)
    assert str(status) in str(caught.value)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain", ""])
def test_only_datasette_itself_says_that_a_table_is_not_there(kind: str) -> None:
    with pytest.raises(SourceError) as caught:
        usable_body(Received(404, kind, b'{"error": "Table not found"}'))
    assert caught.value.reason == "broken_response"


@pytest.mark.parametrize(
    "kind", ["text/html; charset=utf-8", "text/plain", "", "application/jsonp"]
)
def test_then_the_content_type(kind: str) -> None:
    with pytest.raises(SourceError) as caught:
        usable_body(Received(200, kind, b'{"rows": []}'))
    assert caught.value.reason == "broken_response"


@pytest.mark.parametrize("kind", [JSON, "application/json", "Application/JSON ;charset=utf-8"])
def test_json_is_json(kind: str) -> None:
    assert usable_body(Received(200, kind, b"{}")) == b"{}"


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows": [], "next": null}',
        b' \n{ "next" : null , "rows" : [ ] , "x" : {"rows": [1]} } \n',
        b'{"rows": [1], "next": "ignored", "rows": [], "next": null}',
    ],
)
def test_an_empty_table_is_no_fault(body: bytes) -> None:
    assert decode_rows(body, FIRST_STEP, NOW) == Rows((), (), None)
    assert decode_ids(body) == ((), 0, None)
