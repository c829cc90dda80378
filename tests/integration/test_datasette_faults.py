"""Real Datasettes with something wrong behind them: a file that is away, a row beyond limits."""

from typing import Final

import pytest
from fix_source import SourceFarm, SourceSite, make_page, make_pages
from source_commands import door, pages, refetch, repaired, step

from pagestream.embedded.datasette import Version
from producer.datasette.answers import usable_body
from runtime.errors import SourceError
from runtime.http import Received
from schemas.walks import Phase


def test_a_database_that_is_away_is_no_missing_table(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    status, body = source_farm.shared(version=datasette_version).ask("/minutes/minutes.json")
    with pytest.raises(SourceError) as caught:
        usable_body(Received(status, "application/json", body))
    assert (status, caught.value.reason) == (404, "broken_response")


def test_a_file_overwritten_under_a_walk_is_no_end(
    source_farm: SourceFarm, datasette_version: Version
) -> None:
    site = source_farm.private(version=datasette_version, minutes=make_pages("minutes", 50))
    with door(site) as source:
        (first, *_) = pages(source, step(rows=20))
        site.database.write_bytes(b"no database at all" * 1000)
        asked: tuple[tuple[Phase, str | None], ...] = (("pages", first.next), ("listing", None))
        for phase, cursor in asked:
            with pytest.raises(SourceError) as caught:
                source.fetch(step(phase, cursor=cursor, after=first.last_id))
            assert caught.value.reason in {"broken_response", "server_error"}


# More than a response may hold: nobody's page, but one such row must not end a walk.
HUGE: Final = 33 * 1024 * 1024


@pytest.fixture
def huge_row(source_farm: SourceFarm, datasette_version: Version) -> SourceSite:
    """A site of five minutes, of which the third is too large for any response."""
    return source_farm.shared(
        version=datasette_version,
        minutes=[
            make_page("minutes", "M", "2024-02-06", 1, "x" * HUGE if name == "c" else "T", id=name)
            for name in "abcde"
        ],
    )


def test_a_row_too_large_for_any_response_is_dead_lettered_and_walked_past(
    huge_row: SourceSite,
) -> None:
    with door(huge_row) as source:
        with pytest.raises(SourceError) as caught:
            source.fetch(step(rows=2, cursor="b,b", after="b"))
        walked = pages(source, step(rows=1))
    assert caught.value.reason == "too_large"
    assert [page.id for response in walked for page in response.pages] == ["a", "b", "d", "e"]
    (letter,) = [letter for response in walked for letter in response.rejected]
    assert (letter.reason, letter.page_id, letter.identity) == ("too_large", "c", "c")
    assert (letter.walk, letter.step, letter.found_by) == (1, 0, "walker")
    assert b'"id": "c"' in letter.original
    assert letter.original_length > len(letter.original)


def test_a_row_too_large_for_any_response_is_dead_lettered_by_a_repair(
    huge_row: SourceSite,
) -> None:
    with door(huge_row) as source:
        response = repaired(source, refetch("b", "c", "c2", "d", control_id="a"))
    assert [page.id for page in response.pages] == ["b", "d"]
    assert [(letter.reason, letter.page_id) for letter in response.rejected] == [("too_large", "c")]
    assert response.absent == ("c2",)
