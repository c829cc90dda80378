"""Asking sites how many pages they have: seldom, at the right address, and never too often."""

import json

import pytest
from fix_scripted_source import Answer, Asked, Scripted, ScriptedSource, answer, redirect
from pydantic import SecretStr

from pagestream.census import Census, pace_of
from pagestream.planning import Size
from runtime.settings import Settings
from schemas.tables import Table

MINUTES, AGENDA = Table("a.ca", "minutes"), Table("a.ca", "agenda")
OLD, NEW = "/meetings.json", "/meetings/-/query.json"


def counted(pages: int) -> Answer:
    return answer(json.dumps({"ok": True, "rows": [{"pages": pages}]}))


def error(status: int, text: str) -> Answer:
    return answer(json.dumps({"ok": False, "error": text}), status=status)


def census(source: ScriptedSource) -> Census:
    return Census(Settings(source_url=source.source_url, source_connect=source.address))


def test_a_question_is_one_request_for_one_number(scripted: Scripted) -> None:
    source = scripted.start(counted(1234))
    with census(source) as asking:
        assert asking.count(MINUTES, None) == Size(1234, "source")
    (asked,) = source.asked
    assert asked.path == NEW
    assert asked.query["sql"] == "select count(*) as pages from minutes"
    assert asked.headers["Host"].startswith("a.ca.")


def test_the_address_that_answered_is_asked_first_from_then_on(scripted: Scripted) -> None:
    def older(asked: Asked) -> Answer:
        return counted(7) if asked.path == OLD else error(404, "Database not found")

    source = scripted.choosing(older)
    with census(source) as asking:
        found = [asking.count(Table(f"site{n}.ca", "minutes"), None) for n in range(3)]
    assert found == [Size(7, "source")] * 3
    assert [asked.path for asked in source.asked] == [NEW, OLD, OLD, OLD]


def test_a_table_that_is_not_there_has_no_pages(scripted: Scripted) -> None:
    # As 0.65 says it, after all that it knows of the query.
    source = scripted.start(error(400, "." * 300 + "no such table: agendas"))
    with census(source) as asking:
        assert asking.count(AGENDA, None).pages == 0
    assert len(source.asked) == 1


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        (redirect("https://civic.band/"), 1),
        (error(403, "Permission denied: execute-sql"), 2),
        (answer("<html>", content_type="text/html"), 2),
        (answer(json.dumps({"rows": []})), 1),
        (answer(json.dumps({"rows": [{"pages": "many"}]})), 1),
    ],
    ids=["no-such-site", "no-sql", "html", "no-row", "no-number"],
)
def test_what_a_site_does_not_say_is_unknown_with_the_reason(
    given: Answer, requests: int, scripted: Scripted
) -> None:
    source = scripted.start(given)
    with census(source) as asking:
        found = asking.count(MINUTES, None)
    assert (found.pages, found.origin) == (None, "unknown")
    assert found.remark
    assert len(source.asked) == requests


def test_after_too_many_requests_nobody_is_asked_any_more(scripted: Scripted) -> None:
    source = scripted.start(error(429, "too many"))
    with census(source) as asking:
        found = [asking.count(Table(f"site{n}.ca", "minutes"), None) for n in range(3)]
    assert len(source.asked) == 1
    assert all("429" in (size.remark or "") for size in found)


def test_a_secret_that_is_not_there_is_named_and_nothing_is_asked(scripted: Scripted) -> None:
    source = scripted.start(counted(1))
    with census(source) as asking:
        found = asking.count(MINUTES, "mine")
    assert "PAGESTREAM_SECRET_MINE" in (found.remark or "")
    assert source.asked == []


def test_the_pace_is_that_of_the_walker() -> None:
    public = pace_of(Settings())
    assert (public.per_minute, public.capped_rows, public.limits_all) == (14.0, 100, False)
    trusted = pace_of(Settings(source_secret=SecretStr("hush")))
    assert (trusted.per_minute, trusted.capped_rows, trusted.rows) == (None, None, 1000)
    elsewhere = pace_of(Settings(source_url="https://{subdomain}.example.org"))
    assert (elsewhere.per_minute, elsewhere.capped_rows) == (14.0, None)
    asked_for = pace_of(Settings(requests_per_minute=60, rows_per_response=500))
    assert (asked_for.per_minute, asked_for.rows, asked_for.limits_all) == (60.0, 500, True)
