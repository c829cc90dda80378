"""The SQL files: every query is named, described and used."""

import inspect
from pathlib import Path
from types import ModuleType

import pytest

from consumers import dead_letters
from consumers.projections import municipalities, pages, walks
from consumers.queries import load
from consumers.sink import gaps, positions, standstill

MODULES = [dead_letters, gaps, positions, standstill, municipalities, pages, walks]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_query_is_used(module: ModuleType) -> None:
    source = inspect.getsource(module)

    queries = load(str(module.__file__))
    assert queries
    for name in queries:
        assert f'_QUERIES["{name}"]' in source, name


def test_every_sql_file_has_its_module() -> None:
    folder = Path(str(dead_letters.__file__)).parent
    files = {path.with_suffix(".py") for path in folder.rglob("*.sql")}

    assert files == {Path(str(module.__file__)) for module in MODULES}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1\n-- name: a\n-- Described.\nSELECT 1\n",
        "-- name: a\nSELECT 1\n",
        "-- name: a\n-- Described.\nSELECT 1\n\n-- name: b\nSELECT 2\n",
        "-- name: a\n-- Described.\nSELECT 1\n\n-- name: a\n-- Again.\nSELECT 2\n",
    ],
    ids=["before", "undescribed", "second undescribed", "twice"],
)
def test_a_file_that_is_not_in_order_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.sql").write_text(text)

    with pytest.raises(ValueError, match=r"some\.sql"):
        load(str(tmp_path / "some.py"))


def test_queries_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "some.sql").write_text(
        "-- name: one\n-- The first,\n-- described.\nSELECT 1\n\n-- name: two\n-- 2.\nSELECT 2;\n"
    )

    assert load(str(tmp_path / "some.py")) == {"one": "SELECT 1", "two": "SELECT 2;"}
