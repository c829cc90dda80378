"""The columns of a walk held to the fields of its state: no new field is forgotten silently."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pytest
from fix_services import created_database
from msgspec.structs import replace
from servers import Services

import schemas
from consumers.projections.walks import NOT_TOLD, job_row, row
from schemas.codec import decode
from schemas.walks import WalkState

FULL: Final = Path(schemas.__file__).parent / "examples" / "WalkState.full.json"
FIELDS: Final = {field.name: field for field in msgspec.structs.fields(WalkState)}
ALWAYS_GIVEN: Final[dict[str, Any]] = {"site": "berkeley.ca", "kind": "agenda"}
_COLUMNS: Final = """
    SELECT attname, col_description(attrelid, attnum)
    FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""
SAY_IT_THEMSELVES: Final = {
    "site", "kind", "walk", "status", "mode", "rows", "cursor", "after", "listed_by", "window_to",
    "follow_up_rows", "next_walk_mode", "verdict", "added_at", "started_at", "ended_at",
    "updated_at", "subdomain", "steps", "window_from", "listed_at", "last_error",
}  # fmt: skip
"""The columns that need no comment, or share that of another."""


class WiderState(WalkState, frozen=True, kw_only=True):
    """The state of a later program, whose author thought of nothing else."""

    forgotten: int = 0


@pytest.fixture(scope="module")
def migrated(services: Services, migrated_template: str) -> Iterator[str]:
    """A database with the schema, for all tests that only look at it."""
    with created_database(services, migrated_template) as url:
        yield url


def full() -> WalkState:
    state = decode(b"WalkState/1", FULL.read_bytes())
    assert isinstance(state, WalkState)
    return state


def columns(database: str, relation: str) -> dict[str, str | None]:
    """Return the comment of each column of a table or view."""
    with psycopg.connect(database) as connection:
        return dict(connection.execute(_COLUMNS, (relation,)).fetchall())


def test_the_full_example_gives_every_field_another_value_than_its_default() -> None:
    state = full()
    usual = {name: field.default for name, field in FIELDS.items()}
    assert [name for name in FIELDS if getattr(state, name) == usual[name]] == []


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_differs_is_told_unless_it_is_the_walkers_alone(name: str) -> None:
    state = full()
    other = ALWAYS_GIVEN.get(name, FIELDS[name].default)
    differs = row(replace(state, **{name: other})) != row(state)
    assert differs is (name not in NOT_TOLD)


def test_every_column_is_written_and_everything_told_has_a_column(migrated: str) -> None:
    told = set(columns(migrated, "pagestream_log.walk"))
    assert set(row(full())) == told
    assert set(row(WiderState(site="a", kind="agenda"))) - told == {"forgotten"}
    assert set(columns(migrated, "pagestream_log.walk_job")) <= set(job_row(full()))


def test_readers_see_every_column(migrated: str) -> None:
    seen = set(columns(migrated, "pagestream.walk"))
    told = set(columns(migrated, "pagestream_log.walk"))
    assert seen == told - {"site"} | {"subdomain"}


@pytest.mark.parametrize("relation", ["pagestream_log.walk", "pagestream.walk_job"])
def test_a_column_is_explained_where_its_name_does_not_say_it(relation: str, migrated: str) -> None:
    explained = columns(migrated, relation)
    assert {name for name, comment in explained.items() if comment is None} <= SAY_IT_THEMSELVES


def test_the_names_that_are_left_out_are_fields() -> None:
    assert set(FIELDS) >= NOT_TOLD
    assert set(FIELDS) >= set(json.loads(FULL.read_text()))
