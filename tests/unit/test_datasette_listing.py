"""Listings: what is asked by SQL, what of it is believed, and when a site is paged instead."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from fix_scripted_source import Answer, Asked, Scripted, answer, hang_up, redirect, rows
from source_commands import door, is_sql, list_slice, step

from producer.datasette.queries import listing_sql
from producer.responses import ListingResponse
from runtime.errors import SourceError
from schemas.commands import TakeStep
from schemas.tables import Kind

V1, V0 = "/meetings/-/query.json", "/meetings.json"


def slice_of(*ids: str, remaining: int | None = None, **more: Any) -> Answer:
    row = {"ids": json.dumps(ids), "remaining": len(ids) if remaining is None else remaining}
    return answer(json.dumps({"ok": True, "rows": [row], "truncated": False, **more}))


def site(sql: Answer, paged: Answer | None = None, path: str = V1) -> Callable[[Asked], Answer]:
    """Return a site that takes SQL at `path` with this answer, and pages with the other."""

    def chosen(asked: Asked) -> Answer:
        if is_sql(asked):
            return sql if asked.path == path else answer('{"error": "no"}', status=404)
        return paged or rows([{"id": "p"}])

    return chosen


def fetched(
    scripted: Scripted, chosen: Callable[[Asked], Answer], asked: TakeStep
) -> tuple[ListingResponse, list[str]]:
    """Return the response, and the paths that were asked for it."""
    source = scripted.choosing(chosen)
    with door(source) as datasette:
        response = list_slice(datasette, asked)
    return response, [asked.path for asked in source.asked]


@pytest.mark.parametrize(("kind", "table"), [("minutes", "minutes"), ("agenda", "agendas")])
def test_sql_is_fixed_text_with_named_parameters(kind: Kind, table: str) -> None:
    awkward = "a' or 1=1 --"
    plain = listing_sql(step("listing", kind, after=awkward))
    windowed = listing_sql(step("listing", kind, after=awkward, window=("2024-01-01'", ";drop")))
    assert (plain["after"], plain["slice"]) == (awkward, "50000")
    assert set(plain) == {"sql", "_shape", "after", "slice"}
    assert (windowed["from"], windowed["to"]) == ("2024-01-01'", ";drop")
    for query in (plain, windowed):
        assert awkward not in query["sql"]
        assert f" from {table} where" in query["sql"]
        assert "drop" not in query["sql"]
    assert ":from" not in plain["sql"]


@pytest.mark.parametrize("path", [V1, V0])
def test_a_site_is_asked_first_where_it_answered_before(scripted: Scripted, path: str) -> None:
    source = scripted.choosing(site(slice_of("a"), path=path))
    with door(source) as datasette:
        for walk in (1, 1, 2):
            assert list_slice(datasette, step("listing", walk=walk)).listed_by == "sql"
    probed = [V1] if path == V1 else [V1, V0]
    assert [asked.path for asked in source.asked] == [*probed, path, path]


REFUSALS: dict[str, Answer] = {
    "400": answer('{"error": "no such table: -"}', status=400),
    "401": answer(status=401),
    "403": answer("<h1>Forbidden</h1>", status=403, content_type="text/html"),
    "404": answer("<h1>Not found</h1>", status=404, content_type="text/html"),
    "302": redirect("https://civic.band/"),
    "200": answer("<h1>Hello</h1>", content_type="text/html"),
    "402": answer('{"error": "query_too_long"}', status=402),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_site_that_refuses_sql_is_paged_in_the_same_step(
    scripted: Scripted, refusal: str
) -> None:
    paged = rows([{"id": "a"}, {"id": "b"}], "b,b")
    chosen = site(REFUSALS[refusal], paged)
    response, paths = fetched(scripted, chosen, step("listing"))
    assert (response.ids, response.next, response.last) == (("a", "b"), "b,b", False)
    assert (response.listed_by, response.after) == ("paging", None)
    assert paths == [V1, V0, "/meetings/minutes.json"]


def test_a_refusal_holds_for_the_walk(scripted: Scripted) -> None:
    source = scripted.choosing(site(REFUSALS["403"]))
    with door(source) as datasette:
        for walk in (1, 1, 2):
            assert list_slice(datasette, step("listing", walk=walk)).listed_by == "paging"
        list_slice(datasette, step("listing", cursor="a,a", after="a", listed_by="paging", walk=3))
    counts = [sum(is_sql(asked) for asked in source.asked), len(source.asked)]
    assert counts == [4, 8]


def test_sql_that_is_gone_begins_the_listing_anew(scripted: Scripted) -> None:
    asked = step("listing", after="m", listed_by="sql")
    response, _ = fetched(scripted, site(REFUSALS["403"], rows([{"id": "a"}])), asked)
    assert (response.ids, response.after, response.listed_by) == (("a",), None, "paging")


def test_a_listing_that_pages_stays_with_it(scripted: Scripted) -> None:
    asked = step("listing", cursor="m,m", after="m", listed_by="paging")
    response, paths = fetched(scripted, site(slice_of("a")), asked)
    assert (response.ids, response.after) == (("p",), "m")
    assert paths == ["/meetings/minutes.json"]


def fails(
    scripted: Scripted, chosen: Callable[[Asked], Answer], asked: TakeStep | None = None
) -> tuple[str, int]:
    """Return why a slice was not to be had, and after how many requests."""
    source = scripted.choosing(chosen)
    with door(source) as datasette, pytest.raises(SourceError) as caught:
        datasette.fetch(asked or step("listing"))
    return caught.value.reason, len(source.asked)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (answer(status=503), "server_error"),
        (hang_up(), "broken_response"),
        (answer('{"error": "rate_limit_exceeded"}', status=402), "rate_limited"),
        (answer(status=429), "rate_limited"),
        (answer('{"error": "interrupted"}', status=500), "interrupted"),
    ],
)
def test_trouble_is_no_reason_to_page(scripted: Scripted, trouble: Answer, reason: str) -> None:
    assert fails(scripted, site(trouble))[0] == reason


def test_a_server_error_at_the_unknown_address_has_the_other_asked(scripted: Scripted) -> None:
    def chosen(asked: Asked) -> Answer:
        return answer(status=500) if asked.path == V1 else slice_of("a")

    assert fetched(scripted, chosen, step("listing"))[1] == [V1, V0]
    assert fails(scripted, lambda _: answer(status=500)) == ("server_error", 2)


def test_a_server_error_at_the_known_address_is_tried_again_there(scripted: Scripted) -> None:
    source = scripted.start(slice_of("a"), answer(status=500))
    with door(source) as datasette:
        list_slice(datasette, step("listing"))
        with pytest.raises(SourceError):
            datasette.fetch(step("listing"))
    assert [asked.path for asked in source.asked] == [V1, V1]


def test_a_slice_that_is_too_slow_however_small_is_paged(scripted: Scripted) -> None:
    slow = answer(
        '{"error": "<p>SQL query took too long.", "title": "SQL Interrupted"}', status=400
    )
    assert fails(scripted, site(slow), step("listing", rows=51)) == ("interrupted", 1)
    response, paths = fetched(scripted, site(slow), step("listing", rows=50))
    assert (response.listed_by, paths) == ("paging", [V1, "/meetings/minutes.json"])


@pytest.mark.parametrize(
    ("rows_at_once", "expected"), [(1, 50), (50, 2500), (999, 49_950), (1000, 50_000)]
)
def test_a_slice_is_as_large_as_the_rows_allow(rows_at_once: int, expected: int) -> None:
    assert listing_sql(step("listing", rows=rows_at_once))["slice"] == str(expected)


def double(**more: Any) -> Answer:
    row = {"ids": '["a"]', "remaining": 1}
    return answer(json.dumps({"ok": True, "rows": [row, row], "truncated": False, **more}))


SHORT: dict[str, Answer] = {
    "fewer than remained": slice_of("a", "b", remaining=3),
    "more than remained": slice_of("a", "b", remaining=1),
    "none of some": slice_of(remaining=7),
}
BROKEN: dict[str, Answer] = {
    **SHORT,
    "truncated": slice_of("a", truncated=True),
    "no row": answer('{"ok": true, "rows": [], "truncated": false}'),
    "two rows": double(),
    "ids fall": slice_of("b", "a"),
    "an id twice": slice_of("a", "a"),
    "no ids": answer('{"rows": [{"ids": null, "remaining": 0}], "truncated": false}'),
    "ids of another type": answer('{"rows": [{"ids": "[1]", "remaining": 1}], "truncated": false}'),
    "ids are no JSON": answer('{"rows": [{"ids": "a", "remaining": 1}], "truncated": false}'),
    "cut off": answer('{"rows": [{"ids": "[\\"a\\"]"'),
    "another shape": rows([{"id": "a"}]),
    "not UTF-8": answer(b'{"rows": [{"ids": "[\\"\xff\\"]", "remaining": 1}], "truncated": false}'),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_slice_that_is_not_whole_is_broken(scripted: Scripted, fault: str) -> None:
    assert fails(scripted, site(BROKEN[fault])) == ("broken_response", 1)


@pytest.mark.parametrize("fault", SHORT)
def test_without_the_check_a_short_slice_would_pass(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("producer.datasette.listing._check_whole", lambda *_: None)
    source = scripted.choosing(site(SHORT[fault]))
    with door(source) as datasette:
        if fault == "none of some":
            with pytest.raises(SourceError, match="none of its 0 ids"):
                datasette.fetch(step("listing"))
        else:
            assert list_slice(datasette, step("listing")).ids == ("a", "b")


@pytest.mark.parametrize("after", ["m", "n"])
def test_a_slice_begins_beyond_the_one_before(scripted: Scripted, after: str) -> None:
    asked = step("listing", after=after, listed_by="sql")
    assert fails(scripted, site(slice_of("m", "z")), asked) == ("broken_response", 1)


def test_nothing_where_some_remained_is_broken(scripted: Scripted) -> None:
    asked = step("listing", after="m", listed_by="sql")
    assert fails(scripted, site(slice_of()), asked) == ("broken_response", 1)
    assert fetched(scripted, site(slice_of()), step("listing"))[0].last


def test_a_slice_of_unusable_ids_does_not_go_on_for_ever(scripted: Scripted) -> None:
    ids = [chr(1) + f"{n:03}" for n in range(50)]
    unusable = site(slice_of(*ids, remaining=51))
    assert fails(scripted, unusable, step("listing", rows=1)) == ("broken_response", 1)
    last = site(slice_of(*ids))
    assert fetched(scripted, last, step("listing", rows=1))[0].ids == ()
    mixed = site(slice_of(*ids[:49], "a", remaining=51))
    response, _ = fetched(scripted, mixed, step("listing", rows=1))
    assert (response.ids, response.last) == (("a",), False)


def test_the_time_of_a_listing_is_that_of_the_answer_that_counts(scripted: Scripted) -> None:
    probed: list[float] = []

    def chosen(asked: Asked) -> Answer:
        if is_sql(asked):
            probed.append(time.time())
            return REFUSALS["403"]
        return rows([{"id": "a"}])

    response, _ = fetched(scripted, chosen, step("listing"))
    assert response.requested_at.timestamp() > max(probed)
