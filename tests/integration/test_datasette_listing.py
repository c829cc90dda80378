"""Listings of real Datasettes: by SQL, by paging, and from the one to the other."""

import sqlite3
from contextlib import closing
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from fix_scripted_source import Asked, Scripted, answer
from fix_source import UNTYPED, SourceFarm, SourceSite, make_page, make_pages
from source_commands import (
    door,
    ids_of,
    is_sql,
    list_slice,
    listing,
    next_listing,
    pages,
    passed_on,
    step,
)

from pagestream.embedded.datasette import VERSIONS, Version
from producer.responses import PagesResponse
from runtime.errors import SourceError
from schemas.walks import Window

NO_SQL: Final = {"default_allow_sql": "0"}

MANY: Final = 120_000
_FORMS: Final = (
    "{n:012}",
    "{n:012x}",
    "1{n:011}",
    "~{n}",
    "a/{n}",
    "A{n}",
    "ü{n}",
    "€ {n}",
    "😀{n}",
    "{n}",
)


def many_ids(count: int) -> list[str]:
    """Return ids of every awkward form, in SQLite's binary order."""
    named = (_FORMS[n % len(_FORMS)].format(n=n) for n in range(count))
    return sorted(named, key=str.encode)


def with_many_rows(connection: sqlite3.Connection) -> None:
    rows = ((page_id, n) for n, page_id in enumerate(many_ids(MANY)))
    connection.executemany("INSERT INTO minutes (id, page) VALUES (?, ?)", rows)


@pytest.fixture
def large_site(source_farm: SourceFarm, datasette_version: Version) -> SourceSite:
    """A site of 120,000 minutes that takes SQL; read it only."""
    return source_farm.shared(version=datasette_version, change=with_many_rows)


def test_a_listing_by_sql_comes_in_slices_in_binary_order(large_site: SourceSite) -> None:
    with door(large_site) as source:
        slices = listing(source, step("listing"))
    assert [len(one.ids) for one in slices] == [50_000, 50_000, 20_000]
    assert [one.last for one in slices] == [False, False, True]
    assert [one.after for one in slices] == [None, slices[0].ids[-1], slices[1].ids[-1]]
    assert {(one.listed_by, one.next) for one in slices} == {("sql", None)}
    assert ids_of(slices) == many_ids(MANY)


def test_a_listing_by_paging_gives_the_same(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.shared(version=datasette_version, settings=NO_SQL, change=with_many_rows)
    with door(site) as source:
        slices = listing(source, step("listing"))
    assert {one.listed_by for one in slices} == {"paging"}
    assert [one.last for one in slices] == [False] * (len(slices) - 1) + [True]
    assert len(slices) == MANY / 1000
    assert ids_of(slices) == many_ids(MANY)


def test_no_count_of_the_table_endpoint_is_believed(large_site: SourceSite) -> None:
    path = "/meetings/minutes.json?_size=0&_shape=objects&_extra=count"
    said = large_site.get(path)
    believable = said.get("count") == MANY or said.get("filtered_table_rows_count") == MANY
    assert believable == (large_site.version == "0.65")  # 1.0 stops at 10,001
    with door(large_site) as source:
        assert sum(len(one.ids) for one in listing(source, step("listing"))) == MANY


def test_fewer_rows_at_once_make_smaller_slices(source_site: SourceSite) -> None:
    with door(source_site) as source:
        slices = listing(source, step("listing", rows=20))
    assert [len(one.ids) for one in slices] == [1000, 1000, 300]
    assert ids_of(slices) == [row["id"] for row in source_site.rows("minutes")]


NAMED: Final[tuple[str, ...]] = (*(f"{n:012}" for n in range(120)), "1e5", "a,b", "a'b", "~2C")


@pytest.mark.parametrize("settings", [None, NO_SQL])
def test_ids_of_digits_stay_texts_from_slice_to_slice(
    source_farm: SourceFarm, datasette_version: Version, settings: dict[str, Any] | None
) -> None:
    site = source_farm.shared(
        version=datasette_version,
        settings=settings,
        minutes=[make_page("minutes", "M", "2024-02-06", 1, "Text", id=name) for name in NAMED],
    )
    with door(site) as source:
        slices = listing(source, step("listing", rows=1))
    assert len(slices) == (3 if settings is None else len(NAMED))
    assert ids_of(slices) == sorted(NAMED)


def test_a_range_of_the_table_endpoint_would_lose_ids_of_digits(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.shared(
        version=datasette_version,
        minutes=[make_page("minutes", "M", "2024-02-06", 1, "Text", id=name) for name in NAMED],
    )
    beyond = site.get("/meetings/minutes.json?_shape=objects&_size=max&id__gt=000000000060")
    assert len(beyond["rows"]) != sum(name > "000000000060" for name in NAMED)


WINDOW: Final[Window] = ("2010-04-05", "2010-11-12")


@pytest.fixture(params=["sql", "paging"])
def dated_site(
    request: pytest.FixtureRequest, source_farm: SourceFarm, datasette_version: Version
) -> SourceSite:
    """A site whose minutes lie before, in and after WINDOW, on both its days, and on none."""
    days = (
        *WINDOW,
        "2010-04-04",
        "2010-11-13",
        None,
        "",
        "2010-06",
        20_100_601,
        "2010-07-08 10:00",
    )
    rows = [make_page("minutes", "M", "x", n, "T", date=day) for n, day in enumerate(days)]
    return source_farm.shared(
        version=datasette_version,
        settings=NO_SQL if request.param == "paging" else None,
        columns=UNTYPED,
        minutes=[*make_pages("minutes", 900), *rows],
    )


def test_a_window_holds_for_pages_and_listing(dated_site: SourceSite) -> None:
    with closing(sqlite3.connect(dated_site.database)) as connection:
        rows = connection.execute(
            "SELECT id, date FROM minutes WHERE date >= ? AND date <= ? ORDER BY id", WINDOW
        ).fetchall()
    days = {day for _, day in rows}
    assert {*WINDOW, "2010-06", "2010-07-08 10:00"} <= days
    with door(dated_site) as source:
        walked = pages(source, step(rows=70, window=WINDOW))
        slices = listing(source, step("listing", rows=2, window=WINDOW))
    found = [(page.id, page.date) for response in walked for page in response.pages]
    assert found == rows
    assert ids_of(slices) == [page_id for page_id, _ in rows]
    assert len(slices) > 1


def test_a_filter_on_a_column_that_is_none_would_go_unnoticed(source_site: SourceSite) -> None:
    everything = source_site.get("/meetings/minutes.json?_shape=objects&datum__gte=2010-04-05")
    nothing = source_site.get("/meetings/minutes.json?_shape=objects&datum__lte=2010-04-05")
    assert (len(everything["rows"]), nothing["rows"], nothing["next"]) == (100, [], None)


def test_what_cannot_be_an_id_is_not_listed(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    bad = (None, "", 7, 1.5, b"\xff\x00", "a\0b", "z" * 201, "\x7f")
    rows = [make_page("minutes", "M", "2024-01-01", 1, "T", id=one) for one in (*bad, "b", "007")]
    site = source_farm.shared(version=datasette_version, columns=UNTYPED, minutes=rows)
    with door(site) as source:
        by_sql = listing(source, step("listing"))
        paged = listing(source, step("listing", listed_by="paging"))
    assert (ids_of(by_sql), by_sql[0].listed_by) == (["007", "b"], "sql")
    assert (ids_of(paged), paged[0].listed_by) == (["007", "b"], "paging")


def test_an_empty_table_is_listed_as_empty(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.shared(version=datasette_version)
    with door(site) as source:
        response = list_slice(source, step("listing"))
    assert (response.ids, response.last, response.listed_by) == ((), True, "sql")


def test_a_table_emptied_under_a_listing_is_no_end(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.private(version=datasette_version, minutes=make_pages("minutes", 150))
    with door(site) as source:
        first = step("listing", rows=1)
        further = next_listing(first, list_slice(source, first))
        with closing(sqlite3.connect(site.database)) as connection, connection:
            connection.execute("DELETE FROM minutes")
        with pytest.raises(SourceError, match="some were to follow") as caught:
            source.fetch(further)
    assert caught.value.reason == "broken_response"


def test_a_table_that_is_not_there_is_said_so_by_a_listing_too(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.private(version=datasette_version, minutes=make_pages("minutes", 150))
    with door(site) as source:
        first = step("listing", rows=1)
        further = next_listing(first, list_slice(source, first))
        with closing(sqlite3.connect(site.database)) as connection, connection:
            connection.execute("DROP TABLE minutes")
        with pytest.raises(SourceError) as caught:
            source.fetch(further)
    assert caught.value.reason == "not_found"


@pytest.fixture
def without_sql(source_farm: SourceFarm, datasette_version: Version) -> SourceSite:
    """The same site as `source_site`, except that it takes no SQL."""
    return source_farm.shared(
        version=datasette_version,
        settings=NO_SQL,
        agendas=make_pages("agenda", 1200),
        minutes=make_pages("minutes", 2300),
    )


def test_a_listing_whose_sql_is_gone_begins_anew_by_paging(
    source_site: SourceSite, without_sql: SourceSite, scripted: Scripted
) -> None:
    expected = [row["id"] for row in source_site.rows("minutes")]
    served = [source_site]
    front = scripted.choosing(lambda asked: passed_on(served[0], asked))
    with door(front) as source:
        first = step("listing", rows=20)
        begun = list_slice(source, first)
        served[0] = without_sql
        anew = list_slice(source, next_listing(first, begun))
        assert (begun.listed_by, len(begun.ids)) == ("sql", 1000)
        assert (anew.listed_by, anew.after, anew.ids) == ("paging", None, tuple(expected[:20]))
        served[0] = source_site
        rest = listing(source, next_listing(first, anew))
    assert {one.listed_by for one in rest} == {"paging"}
    assert ids_of([anew, *rest]) == expected


@pytest.fixture
def both(source_farm: SourceFarm) -> list[SourceSite]:
    """One content, served by each version of Datasette."""
    agendas, minutes = make_pages("agenda", 1200), make_pages("minutes", 2300)
    return [
        source_farm.shared(version=version, agendas=agendas, minutes=minutes)
        for version in VERSIONS
    ]


def test_the_version_can_change_with_every_request(
    both: list[SourceSite], scripted: Scripted
) -> None:
    expected = [row["id"] for row in both[0].rows("minutes")]
    commands = 0

    def swapped(asked: Asked) -> Any:
        return passed_on(both[commands % 2], asked)

    front = scripted.choosing(swapped)
    with door(front) as source:
        first = step("listing", rows=10)
        slices = [list_slice(source, first)]
        while not slices[-1].last:
            commands += 1
            slices.append(list_slice(source, next_listing(first, slices[-1])))
        assert {one.listed_by for one in slices} == {"sql"}
        assert ids_of(slices) == expected
        walked: list[PagesResponse] = []
        cursor: str | None = None
        after: str | None = None
        while not walked or cursor is not None:
            response = source.fetch(step(rows=300, cursor=cursor, after=after))
            assert isinstance(response, PagesResponse)
            walked.append(response)
            commands += 1
            cursor, after = response.next, response.last_id
    assert [page.id for response in walked for page in response.pages] == expected
    assert {asked.path for asked in front.asked if is_sql(asked)} == {
        "/meetings/-/query.json",
        "/meetings.json",
    }


def capped(asked: Asked) -> str:
    """Return what the public front end makes of a request: a hundred rows at most."""
    query = dict(asked.query)
    size = query.get("_size", "100")
    query["_size"] = size if size.isdecimal() and int(size) <= 100 else "100"
    return f"{asked.path}?{urlencode(query)}"


@pytest.mark.parametrize("settings", [None, NO_SQL])
def test_a_front_end_that_gives_a_hundred_rows_at_most_is_walked_exactly(
    source_site: SourceSite,
    without_sql: SourceSite,
    scripted: Scripted,
    settings: dict[str, Any] | None,
) -> None:
    site = source_site if settings is None else without_sql
    expected = [row["id"] for row in site.rows("minutes")]

    def front(asked: Asked) -> Any:
        status, body = site.ask(capped(asked))
        return answer(body, status=status)

    with door(scripted.choosing(front)) as source:
        walked = pages(source, step())
        slices = listing(source, step("listing"))
    assert len(walked) == 23
    assert [page.id for response in walked for page in response.pages] == expected
    assert (len(slices), ids_of(slices)) == (1 if settings is None else 23, expected)
