"""One step, one request: what is asked, what is believed, and what is counted."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from fix_scripted_source import Scripted, ScriptedSource, answer, cut, hang_up, redirect, rows

from producer.datasette import DatasetteSource
from producer.pacing import StopRequestedError
from producer.responses import ListingResponse, PagesResponse, RepairResponse
from runtime.errors import SourceError
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.commands import TakeStep
from schemas.tables import Kind
from schemas.walks import ListedBy, Phase, Position


@contextmanager
def door(source: ScriptedSource, **more: Any) -> Iterator[DatasetteSource]:
    stop, metrics = more.pop("stop", threading.Event()), more.pop("metrics", Metrics())
    settings = Settings(_env_file=None, source_url=source.source_url, **more)
    datasette = DatasetteSource(settings, metrics, stop)
    try:
        yield datasette
    finally:
        datasette.close()


def step(
    phase: Phase = "pages",
    cursor: str | None = None,
    after: str | None = None,
    kind: Kind = "minutes",
    site: str = "alameda.ca",
) -> TakeStep:
    listed_by: ListedBy | None = "paging" if phase == "listing" else None
    position = Position(phase=phase, cursor=cursor, after=after, listed_by=listed_by)
    return TakeStep(site=site, kind=kind, walk=2, step=5, position=position, rows=250)


def row(page_id: object) -> dict[str, object]:
    return {"id": page_id, "page": 1}


def fetch(source: ScriptedSource, asked: TakeStep | None = None) -> PagesResponse | ListingResponse:
    with door(source) as datasette:
        response = datasette.fetch(asked or step())
    assert not isinstance(response, RepairResponse)
    return response


def broken(source: ScriptedSource, asked: TakeStep | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        fetch(source, asked)
    assert caught.value.reason == "broken_response"
    assert caught.value.received is not None
    return str(caught.value)


QUERY = {
    "_sort": "id",
    "_shape": "objects",
    "_size": "250",
    "_nocount": "1",
    "_nofacet": "1",
    "_nosuggest": "1",
}


@pytest.mark.parametrize(
    ("asked", "path", "more"),
    [
        (step(), "/meetings/minutes.json", {}),
        (step(kind="agenda"), "/meetings/agendas.json", {}),
        (step(cursor="0a,0a", after="0"), "/meetings/minutes.json", {"_next": "0a,0a"}),
        (step(cursor="~2C%41", after="0"), "/meetings/minutes.json", {"_next": "~2C%41"}),
        (step("listing"), "/meetings/minutes.json", {"_col": "id"}),
        (
            step("listing", "0a,0a", "0"),
            "/meetings/minutes.json",
            {"_col": "id", "_next": "0a,0a"},
        ),
    ],
)
def test_asks_in_the_order_of_ids_and_for_nothing_superfluous(
    scripted: Scripted, asked: TakeStep, path: str, more: dict[str, str]
) -> None:
    source = scripted.start(rows([row("1")]))
    fetch(source, asked)
    assert source.asked[0].path == path
    assert source.asked[0].query == {**QUERY, **more}
    assert source.asked[0].headers["Host"] == f"alameda.ca.localhost:{source.port}"


def test_brings_pages(scripted: Scripted) -> None:
    source = scripted.start(rows([row("b"), row(None), row("c"), row(7)], "c,c"))
    before = datetime.now(UTC)
    response = fetch(source, step(cursor="a,a", after="a"))
    assert isinstance(response, PagesResponse)
    assert [(page.id, page.site, page.kind) for page in response.pages] == [
        ("b", "alameda.ca", "minutes"),
        ("c", "alameda.ca", "minutes"),
    ]
    assert {(page.walk, page.step) for page in response.pages} == {(2, 5)}
    assert [letter.reason for letter in response.rejected] == ["bad_id", "bad_id"]
    assert (response.next, response.last_id) == ("c,c", "c")
    assert before <= response.requested_at <= datetime.now(UTC)
    assert 0 < response.seconds < 30


def test_brings_a_listing(scripted: Scripted) -> None:
    source = scripted.start(rows([{"id": "b"}, {"id": None}, {"id": "c"}], "c,c"))
    response = fetch(source, step("listing"))
    assert isinstance(response, ListingResponse)
    assert (response.ids, response.next) == (("b", "c"), "c,c")
    assert (response.after, response.listed_by, response.last) == (None, "paging", False)
    further = fetch(scripted.start(rows([{"id": "d"}])), step("listing", "c,c", "c"))
    assert isinstance(further, ListingResponse)
    assert (further.ids, further.next) == (("d",), None)
    assert (further.after, further.listed_by, further.last) == ("c", "paging", True)


def test_a_short_response_is_not_the_last(scripted: Scripted) -> None:
    assert fetch(scripted.start(rows([row("b")], "b,b"))).next == "b,b"


def test_the_last_id_stays_where_no_row_has_one(scripted: Scripted) -> None:
    source = scripted.start(rows([row(None), row("")]))
    response = fetch(source, step(cursor="a,a", after="a"))
    assert isinstance(response, PagesResponse)
    assert response.last_id == "a"


@pytest.mark.parametrize("count", [20, 1000])
def test_a_response_of_which_every_row_is_refused_is_broken(scripted: Scripted, count: int) -> None:
    renamed = [{"id": f"{number:04}", "page_number": 1} for number in range(count)]
    said = broken(scripted.start(rows(renamed)))
    assert f"every one of its {count} rows was refused: page is null" in said


def test_a_few_rows_or_one_good_one_are_no_broken_response(scripted: Scripted) -> None:
    refused = [{"id": f"{number:04}"} for number in range(19)]
    few = fetch(scripted.start(rows(refused)))
    assert isinstance(few, PagesResponse)
    assert len(few.rejected) == 19
    one_good = fetch(scripted.start(rows([*refused, {"id": "0019"}, row("b")])))
    assert isinstance(one_good, PagesResponse)
    assert (len(one_good.rejected), len(one_good.pages)) == (20, 1)


@pytest.mark.parametrize("phase", ["pages", "listing"])
def test_an_empty_table_is_a_response(scripted: Scripted, phase: Phase) -> None:
    assert fetch(scripted.start(rows([])), step(phase)).next is None


ORDER: dict[str, tuple[list[str | None], str | None]] = {
    "it begins where it began before": (["a", "b"], "a"),
    "it begins earlier": (["0", "b"], "a"),
    "an id comes twice": (["b", "b"], None),
    "ids fall": (["c", "b"], None),
    "ids fall after a row without one": (["c", None, "b"], None),
    "ids rise only regardless of case": (["a", "B"], None),
    "ids rise only as UTF-16": (["\U00010000", "\uffee"], None),
}


@pytest.mark.parametrize("phase", ["pages", "listing"])
@pytest.mark.parametrize("fault", ORDER)
def test_ids_rise_or_the_response_is_broken(scripted: Scripted, phase: Phase, fault: str) -> None:
    ids, after = ORDER[fault]
    source = scripted.start(rows([row(page_id) for page_id in ids]))
    cursor = None if after is None else "x"
    assert "unusable response" in broken(source, step(phase, cursor, after))


@pytest.mark.parametrize("phase", ["pages", "listing"])
def test_ids_rise_in_binary_order(scripted: Scripted, phase: Phase) -> None:
    ids = ["B", "a", "b", "ü", "\uffee", "\U00010000"]
    assert ids == sorted(ids, key=str.encode)
    source = scripted.start(rows([row(page_id) for page_id in ids]))
    fetch(source, step(phase, "A,A", "A"))


@pytest.mark.parametrize("phase", ["pages", "listing"])
@pytest.mark.parametrize(
    ("sent", "cursor", "complaint"),
    [
        (rows([], "z,z"), None, "no rows"),
        (rows([], "z,z"), "a,a", "no rows"),
        (rows([]), "a,a", "no rows"),
        (rows([row("b")], "a,a"), "a,a", "cursor that was sent"),
    ],
)
def test_a_beginning_or_end_that_cannot_be_is_broken(
    scripted: Scripted,
    phase: Phase,
    sent: Callable[..., None],
    cursor: str | None,
    complaint: str,
) -> None:
    assert complaint in broken(scripted.start(sent), step(phase, cursor, "a" if cursor else None))


@pytest.mark.parametrize("phase", ["pages", "listing"])
@pytest.mark.parametrize(
    "sent",
    [
        answer("<h1>Hello</h1>", content_type="text/html"),
        answer("<h1>Hello</h1>"),
        answer('{"rows": [], "next": null}', content_type=None),
        answer("[]"),
        answer('{"ok": false}'),
        cut(b'{"ok": true, "next": null, "rows": [{"id": "a", "page": 1}'),
    ],
)
def test_garbage_is_broken_and_shown(
    scripted: Scripted, phase: Phase, sent: Callable[..., None]
) -> None:
    broken(scripted.start(sent), step(phase))


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (redirect("https://civic.band/"), "no_such_site"),
        (answer('{"error": "rate_limit_exceeded"}', status=402), "rate_limited"),
        (answer('{"error": "Table not found"}', status=404), "not_found"),
        (hang_up(), "broken_response"),
    ],
)
def test_failures_are_counted_by_reason(
    scripted: Scripted, sent: Callable[..., None], reason: str
) -> None:
    metrics = Metrics()
    with door(scripted.start(sent), metrics=metrics) as datasette:
        with pytest.raises(SourceError) as caught:
            datasette.fetch(step())
        assert caught.value.reason == reason
    sample = metrics.registry.get_sample_value
    assert sample("pagestream_requests_failed_total", {"reason": reason}) == 1
    assert sample("pagestream_request_seconds_count") == 1


def test_what_is_no_site_is_not_asked(scripted: Scripted) -> None:
    source = scripted.start(rows([]))
    with pytest.raises(SourceError):
        fetch(source, step(site="x@evil.com"))
    assert source.asked == []


def test_a_cursor_longer_than_an_address_is_broken(scripted: Scripted) -> None:
    source = scripted.start(rows([]))
    with pytest.raises(SourceError) as caught:
        fetch(source, step(cursor="a" * 70_000, after="a"))
    assert caught.value.reason == "broken_response"
    assert source.asked == []


def test_a_stop_ends_the_wait_for_the_limit(scripted: Scripted) -> None:
    source = scripted.start(rows([]))
    stop = threading.Event()
    with door(source, stop=stop, requests_per_minute=0.1) as datasette:
        datasette.fetch(step())
        stop.set()
        began = time.monotonic()
        with pytest.raises(StopRequestedError):
            datasette.fetch(step())
    assert time.monotonic() - began < 30
    assert len(source.asked) == 1


def test_other_shapes_of_json_are_read_too(scripted: Scripted) -> None:
    body = {
        "database": "meetings",
        "rows": [row("b")],
        "filtered_table_rows_count": None,
        "columns": ["id"],
        "next": None,
        "next_url": None,
    }
    assert isinstance(fetch(scripted.start(answer(json.dumps(body)))), PagesResponse)
