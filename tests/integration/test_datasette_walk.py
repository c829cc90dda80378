"""Real Datasettes, walked from end to end by their own cursors."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Final

import pytest
from fix_source import UNTYPED, SourceFarm, SourceSite, make_page, make_pages
from samples import source_row
from source_commands import door

from pagestream.embedded.datasette import Version
from producer.datasette import DatasetteSource
from producer.responses import ListingResponse, PagesResponse, RepairResponse
from runtime.errors import SourceError
from schemas.commands import TakeStep
from schemas.records import DeadLetter, Page
from schemas.tables import Kind
from schemas.walks import ListedBy, Phase, Position

Response = PagesResponse | ListingResponse


def step(
    phase: Phase = "pages",
    kind: Kind = "minutes",
    rows: int = 1000,
    cursor: str | None = None,
    after: str | None = None,
) -> TakeStep:
    listed_by: ListedBy | None = "paging" if phase == "listing" else None
    position = Position(phase=phase, cursor=cursor, after=after, listed_by=listed_by)
    return TakeStep(site="alameda.ca", kind=kind, walk=1, step=0, position=position, rows=rows)


def last_of(response: Response) -> str | None:
    if isinstance(response, PagesResponse):
        return response.last_id
    return response.ids[-1] if response.ids else None


def walk(source: DatasetteSource, phase: Phase, kind: Kind, rows: int) -> list[Response]:
    """Return every response of a walk."""
    responses = [response_to(source, step(phase, kind, rows))]
    while (cursor := responses[-1].next) is not None:
        after = last_of(responses[-1])
        responses.append(response_to(source, step(phase, kind, rows, cursor, after)))
    return responses


def response_to(source: DatasetteSource, asked: TakeStep) -> Response:
    response = source.fetch(asked)
    assert not isinstance(response, RepairResponse)
    return response


def pages_of(
    site: SourceSite, kind: Kind = "minutes", rows: int = 1000
) -> tuple[list[Page], list[DeadLetter]]:
    with door(site) as source:
        responses = [r for r in walk(source, "pages", kind, rows) if isinstance(r, PagesResponse)]
    pages = [page for response in responses for page in response.pages]
    return pages, [letter for response in responses for letter in response.rejected]


def listed(responses: list[Response]) -> list[str]:
    return [page_id for r in responses if isinstance(r, ListingResponse) for page_id in r.ids]


def ids_of(site: SourceSite, kind: Kind = "minutes", rows: int = 1000) -> list[str]:
    with door(site) as source:
        return listed(walk(source, "listing", kind, rows))


@pytest.mark.parametrize(("kind", "table"), [("minutes", "minutes"), ("agenda", "agendas")])
@pytest.mark.parametrize("rows", [1000, 77])
def test_a_walk_brings_every_row_once_and_in_order(
    source_site: SourceSite, kind: Kind, table: str, rows: int
) -> None:
    expected = source_site.rows(table)
    pages, rejected = pages_of(source_site, kind, rows)
    assert [source_row(page) for page in pages] == expected
    assert rejected == []
    assert ids_of(source_site, kind, rows) == [row["id"] for row in expected]


def test_two_kinds_are_walked_at_once_by_many_threads(source_site: SourceSite) -> None:
    kinds: list[Kind] = ["minutes", "agenda"] * 4
    with door(source_site) as source, ThreadPoolExecutor(8) as pool:
        walks = list(pool.map(lambda kind: walk(source, "listing", kind, 300), kinds))
    counts = [len(listed(walked)) for walked in walks]
    assert counts == [2300, 1200] * 4


AWKWARD_IDS = (
    *("000000000001", "000000000002", "100000000000", "1e5", "0x1f", "A", "B", "ü", "€", "😀"),
    *(
        "a,b",
        "a/b",
        "a~b",
        "~2C",
        "a%2Cb",
        "a+b",
        "a&b=c",
        "a#b",
        "a?b",
        "a'b",
        'a"b',
        "(a)",
        "[a]",
    ),
    *("$null", "null", "None", "_", "-", ".", ".."),
)


def with_infinite_scores(connection: sqlite3.Connection) -> None:
    """Give every minute a column more, which holds what JSON has no word for."""
    connection.execute("ALTER TABLE minutes ADD COLUMN score")
    connection.execute("UPDATE minutes SET score = 9e999")


@pytest.fixture
def one_day(source_farm: SourceFarm, datasette_version: Version) -> SourceSite:
    """A site whose minutes are all of two days, served sorted by day as every real site is.

    Its agendas have awkward ids, and its minutes a column that cannot be read the fast way.
    """
    days = ("2024-02-06", "2024-02-13")
    return source_farm.shared(
        version=datasette_version,
        minutes=[make_page("minutes", "M", days[n % 2], n, f"Page {n}") for n in range(500)],
        agendas=[make_page("agenda", "M", days[0], 1, "Text", id=name) for name in AWKWARD_IDS],
        change=with_infinite_scores,
    )


def test_a_site_sorted_by_date_is_walked_by_id(one_day: SourceSite) -> None:
    expected = [{**row, "score": None} for row in one_day.rows("minutes")]
    pages, rejected = pages_of(one_day, rows=60)
    assert [{**source_row(page), "score": None} for page in pages] == expected
    assert rejected == []


def test_without_asking_for_ids_in_order_the_same_walk_loses_and_doubles_rows(
    one_day: SourceSite,
) -> None:
    expected = [row["id"] for row in one_day.rows("minutes")]
    walked: list[str] = []
    more: str | None = ""
    while more is not None:
        path = f"/meetings/minutes.json?_shape=objects&_size=60&_col=id{more}"
        response = one_day.get(path)
        walked += [row["id"] for row in response["rows"]]
        more = f"&_next={response['next']}" if response["next"] else None
    assert set(walked) < set(expected)
    assert len(walked) > len(set(walked))


def test_a_walk_out_of_order_is_noticed(
    one_day: SourceSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsorted = {"_shape": "objects", "_size": "60"}
    monkeypatch.setattr("producer.datasette.walking.pages_query", lambda _: unsorted)
    with door(one_day) as source, pytest.raises(SourceError, match="ids do not rise"):
        source.fetch(step())


def test_any_id_can_be_a_cursor(one_day: SourceSite) -> None:
    pages, rejected = pages_of(one_day, "agenda", rows=1)
    assert [page.id for page in pages] == sorted(AWKWARD_IDS)
    assert rejected == []
    assert ids_of(one_day, "agenda", rows=1) == sorted(AWKWARD_IDS)


# The greatest make a cursor of 50,001 characters: Datasette's server takes no longer address.
LONG_IDS: Final = ("a" * 1_100, "b" * 25_000, "€" * 200, "😀" * 200, "😀" * 2_000)


def test_no_id_is_too_long_to_be_a_cursor(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.shared(
        version=datasette_version,
        minutes=[make_page("minutes", "M", "2024-02-06", 1, "Text", id=name) for name in LONG_IDS],
    )
    pages, rejected = pages_of(site, rows=1)
    assert [page.id for page in pages] == ["€" * 200, "😀" * 200]
    assert [letter.reason for letter in rejected] == ["bad_id"] * 3
    assert ids_of(site, rows=1) == ["€" * 200, "😀" * 200]


def fails(site: SourceSite, asked: TakeStep) -> SourceError:
    with door(site) as source, pytest.raises(SourceError) as caught:
        source.fetch(asked)
    return caught.value


@pytest.mark.parametrize("cursor", ["gggg", "~ZZ", "gggg,gggg", "gggg,gggg,gggg", ",", "%"])
@pytest.mark.parametrize("phase", ["pages", "listing"])
def test_a_cursor_that_is_not_understood_is_noticed(
    source_site: SourceSite, phase: Phase, cursor: str
) -> None:
    error = fails(source_site, step(phase, cursor=cursor, after="80"))
    assert error.reason in {"broken_response", "server_error"}


def test_a_table_emptied_under_a_walk_is_no_end(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.private(version=datasette_version, minutes=make_pages("minutes", 50))
    with door(site) as source:
        first = response_to(source, step(rows=20))
        with closing(sqlite3.connect(site.database)) as connection, connection:
            connection.execute("DELETE FROM minutes")
        with pytest.raises(SourceError, match="no rows") as caught:
            source.fetch(step(cursor=first.next, after=last_of(first)))
    assert caught.value.reason == "broken_response"


@pytest.fixture
def half_a_site(source_farm: SourceFarm, datasette_version: Version) -> SourceSite:
    """A site without agendas that gives 100 rows at once."""
    return source_farm.shared(
        version=datasette_version,
        settings={"max_returned_rows": 100},
        change=lambda connection: connection.execute("DROP TABLE agendas"),
    )


def test_a_table_that_is_not_there_is_said_so(half_a_site: SourceSite) -> None:
    error = fails(half_a_site, step(kind="agenda"))
    assert (error.reason, "not found" in str(error.received)) == ("not_found", True)


def test_more_rows_than_the_source_gives_at_once_is_said_so(half_a_site: SourceSite) -> None:
    assert fails(half_a_site, step(rows=101)).reason == "broken_response"


def test_a_query_over_the_time_limit_is_said_so(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.shared(
        version=datasette_version,
        settings={"sql_time_limit_ms": 10},
        columns="id, page, text",  # without a key there is no index, and much to sort
        minutes=[{"id": f"{n:05}", "page": n, "text": "x" * 20_000} for n in range(2000)],
    )
    assert fails(site, step()).reason == "interrupted"


GOOD: dict[str, dict[str, Any]] = {
    "page as text": {"page": "3"},
    "page as text with zeros": {"page": "007"},
    "page as a whole float": {"page": 4.0},
    "date today": {"date": "today"},
    "date that is none": {"date": "2024-02-30"},
    "date empty": {"date": ""},
    "date null": {"date": None},
    "date a number": {"date": 20240206},
    "NUL": {"text": "a\0b\f\0"},
    "BOM": {"text": "\ufeffMinutes"},
    "much text": {"text": "x" * 500_000},
    "no text": {"text": ""},
    "null text": {"text": None},
    "emoji": {"text": "😀 🇺🇸 \U0010ffff \uf0b7"},
    "the slot of the next": {"page": 9},
    "the slot of the one before": {"page": 9},
    "nulls": {"meeting": None, "page_image": None, "entities_json": None, "votes_json": None},
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "id null": ({"id": None}, "bad_id"),
    "id empty": ({"id": ""}, "bad_id"),
    "id a number": ({"id": 7}, "bad_id"),
    "id long": ({"id": "z" * 201}, "bad_id"),
    "page 1.5 as text": ({"page": "1.5"}, "bad_page_number"),
    "page 1.5": ({"page": 1.5}, "bad_page_number"),
    "page null": ({"page": None}, "bad_page_number"),
    "page -1": ({"page": -1}, "bad_page_number"),
    "page 2^40": ({"page": 2**40}, "bad_page_number"),
    "page text": ({"page": "iv"}, "bad_page_number"),
    "page infinite": ({"page": float("inf")}, "bad_page_number"),
    "text a number": ({"text": 5}, "wrong_type"),
    "text bytes": ({"text": b"\xff"}, "wrong_type"),
    "meeting a number": ({"meeting": 1.5}, "wrong_type"),
}


@pytest.mark.parametrize("rows", [1000, 5])
def test_bad_input_costs_nothing_but_itself(
    source_farm: SourceFarm, datasette_version: Version, rows: int
) -> None:
    good = [{**make_page("minutes", "M", "2024-01-01", 1, name), **GOOD[name]} for name in GOOD]
    bad = [{**make_page("minutes", "M", "2024-01-01", 1, name), **BAD[name][0]} for name in BAD]
    site = source_farm.shared(version=datasette_version, columns=UNTYPED, minutes=good + bad)
    pages, rejected = pages_of(site, rows=rows)

    stored = {page.id: page for page in pages}
    assert set(stored) == {row["id"] for row in good}
    marked = {page.id: page.sanitised for page in pages if page.sanitised}
    by_name = dict(zip(GOOD, (row["id"] for row in good), strict=True))
    assert marked == {
        by_name["date a number"]: ("date",),
        by_name["NUL"]: ("text",),
        by_name["BOM"]: ("text",),
    }
    assert stored[by_name["page as text"]].page == 3
    assert stored[by_name["NUL"]].text == "a\ufffdb\f\ufffd"
    assert stored[by_name["BOM"]].text == "Minutes"
    assert stored[by_name["date a number"]].date == "20240206"
    assert stored[by_name["much text"]].text == "x" * 500_000
    assert sorted(letter.reason for letter in rejected) == sorted(r for _, r in BAD.values())
