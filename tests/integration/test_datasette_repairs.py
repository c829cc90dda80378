"""Repairs on real Datasettes: the rows of exactly the ids asked for, however they come."""

import sqlite3
from typing import Any, Final

import pytest
from fix_scripted_source import Asked, Scripted, answer
from fix_source import UNTYPED, SourceFarm, SourceSite, make_page, make_pages
from source_commands import door, is_sql, pages, passed_on, prune, refetch, repaired, step

from pagestream.embedded.datasette import Version
from runtime.errors import SourceError
from schemas.records import Page

NO_SQL: Final = {"default_allow_sql": "0"}
AWKWARD: Final = (
    *("000000000001", "000000000002", "100000000000", "007", "1e5", "0x1f", "-1", "1.0"),
    *("a,b", "[a]", '["a"]', "a/b", "~2C", "a%2Cb", "a'b", 'a"b', "ü", "€", "😀", "B", "null", " "),
)


@pytest.fixture(params=["sql", "paging"])
def site(
    request: pytest.FixtureRequest, source_farm: SourceFarm, datasette_version: Version
) -> SourceSite:
    """A site of 2,300 minutes, some with awkward ids, that takes SQL or takes none."""
    named = [make_page("minutes", "M", "2024-02-06", 1, name, id=name) for name in AWKWARD]
    return source_farm.shared(
        version=datasette_version,
        settings=NO_SQL if request.param == "paging" else None,
        minutes=[*make_pages("minutes", 2278), *named],
    )


def walked(site: SourceSite) -> dict[str, Page]:
    with door(site) as source:
        responses = pages(source, step())
    return {page.id: page for response in responses for page in response.pages}


def content(page: Page) -> tuple[object, ...]:
    return (page.id, page.row_hash, page.text, page.meeting, page.date, page.page, page.votes)


def test_exactly_the_rows_that_were_asked_for_come(site: SourceSite) -> None:
    stored = walked(site)
    there = [*AWKWARD, *[name for name in stored if name not in AWKWARD][: 280 - len(AWKWARD)]]
    gone = [f"{n:012}" for n in range(3, 21)] + ["a", "b"]
    control_id = max(stored)
    with door(site) as source:
        response = repaired(source, refetch(*gone, *there, control_id=control_id))
    assert [page.id for page in response.pages] == there
    assert response.absent == tuple(gone)
    assert response.rejected == ()
    assert [content(page) for page in response.pages] == [content(stored[name]) for name in there]
    assert {(page.walk, page.step) for page in response.pages} == {(7, 0)}


def test_without_a_control_the_first_id_of_the_source_serves(site: SourceSite) -> None:
    first, second = sorted(walked(site))[:2]
    with door(site) as source:
        one = repaired(source, prune(second, "gone", control_id=None))
        itself = repaired(source, prune(first, "gone", control_id=None))
        control = repaired(source, prune(first, "gone", control_id=first))
    assert ([page.id for page in one.pages], one.absent) == ([second], ("gone",))
    assert [page.id for page in itself.pages] == [page.id for page in control.pages] == [first]
    assert itself.absent == control.absent == ("gone",)


def test_a_control_that_is_not_there_proves_nothing(site: SourceSite) -> None:
    present = next(iter(walked(site)))
    with door(site) as source, pytest.raises(SourceError, match="which is there, is missing"):
        source.fetch(prune(present, "gone", control_id="gone too"))


def test_ids_too_long_for_one_address_are_asked_for_in_parts(
    source_farm: SourceFarm, datasette_version: Version, scripted: Scripted
) -> None:
    names = [f"{n:03}" + "€" * 197 for n in range(12)]
    site = source_farm.shared(
        version=datasette_version,
        minutes=[make_page("minutes", "M", "2024-02-06", 1, "T", id=name) for name in names],
    )
    front = scripted.choosing(lambda asked: passed_on(site, asked))
    with door(front) as source:
        response = repaired(source, refetch(*names[1:], "gone", control_id=names[0]))
    assert [page.id for page in response.pages] == names[1:]
    assert response.absent == ("gone",)
    answered = [asked for asked in front.asked if names[0] in asked.query["ids"]]
    assert len(answered) == len(front.asked) > 5
    assert all(len(asked.target) < 8_000 for asked in front.asked)


def test_an_empty_table_has_none_of_them(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.shared(version=datasette_version)
    with door(site) as source:
        response = repaired(source, prune("a", "b", control_id=None))
        with pytest.raises(SourceError, match="missing"):
            source.fetch(prune("a", "b", control_id="c"))
    assert (response.pages, response.rejected, response.absent) == ((), (), ("a", "b"))


def test_rows_that_cannot_be_stored_are_neither_pages_nor_absent(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    def with_infinity(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE minutes ADD COLUMN score")
        connection.execute("UPDATE minutes SET score = 9e999")

    rows = [
        {**make_page("minutes", "M", "2024-02-06", 1, "T", id=name), "page": number}
        for name, number in (("a", 1), ("b", "iv"), ("c", 3), ("d", 4))
    ]
    for settings in (None, NO_SQL):
        site = source_farm.shared(
            version=datasette_version,
            settings=settings,
            columns=UNTYPED,
            minutes=[*rows, make_page("minutes", "M", "x", 1, "T", id=None)],
            change=with_infinity,
        )
        with door(site) as source:
            response = repaired(source, refetch("b", "c", "e", control_id=None))
        assert [page.id for page in response.pages] == ["c"]
        assert [letter.page_id for letter in response.rejected] == ["b"]
        assert response.absent == ("e",)


def test_a_site_that_cuts_its_answers_is_followed_to_the_end(
    source_farm: SourceFarm, datasette_version: Version, scripted: Scripted
) -> None:
    site = source_farm.shared(
        version=datasette_version,
        settings={"max_returned_rows": 100},
        minutes=make_pages("minutes", 400),
    )
    front = scripted.choosing(lambda asked: passed_on(site, asked))
    ids = [row["id"] for row in site.rows("minutes")]
    with door(front) as source:
        response = repaired(source, prune(*ids[:250], "gone", control_id=ids[-1]))
    assert [page.id for page in response.pages] == ids[:250]
    assert response.absent == ("gone",)
    assert [is_sql(asked) for asked in front.asked if asked.query.get("_next")] == [False] * 2


@pytest.mark.parametrize("settings", [None, NO_SQL])
def test_a_front_end_that_gives_a_hundred_rows_at_most_is_followed_to_the_end(
    source_farm: SourceFarm,
    datasette_version: Version,
    scripted: Scripted,
    settings: dict[str, Any] | None,
) -> None:
    site = source_farm.shared(
        version=datasette_version, settings=settings, minutes=make_pages("minutes", 400)
    )
    ids = [row["id"] for row in site.rows("minutes")]

    def capped(asked: Asked) -> Any:
        status, body = site.ask(asked.target.replace("_size=max", "_size=100"))
        return answer(body, status=status)

    with door(scripted.choosing(capped)) as source:
        response = repaired(source, prune(*ids[:299], "gone", control_id=ids[-1]))
    assert [page.id for page in response.pages] == ids[:299]
    assert response.absent == ("gone",)


def test_a_missing_table_is_said_so_to_a_repair_too(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.shared(
        version=datasette_version,
        change=lambda connection: connection.execute("DROP TABLE minutes"),
    )
    for control_id in ("a", None):
        with door(site) as source, pytest.raises(SourceError) as caught:
            source.fetch(prune("b", control_id=control_id))
        assert caught.value.reason == "not_found"
