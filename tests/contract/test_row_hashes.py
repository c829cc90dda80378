"""The row hash: golden vectors, recomputed independently in Python and by PostgreSQL itself."""

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from servers import Services

import schemas
from schemas.hashing import HASH_VERSION, HASHED_FIELDS, row_hash

GOLDEN: Final = json.loads(
    (Path(schemas.__file__).parent / "examples" / "row_hashes.json").read_text()
)
VECTORS: Final[list[dict[str, Any]]] = GOLDEN["vectors"]
BY_HAND: Final = {
    # printf '000000000000\x1f\x1e\x1f\x1e\x1f0\x1f\x1e\x1f\x1e\x1f\x1e\x1f\x1e' | sha256sum
    "NULL where a field may be NULL": 0xB7E495C19DF4D4D6 - 2**64,
    # printf '000000000000\x1f\x1f\x1f0\x1f\x1f\x1f\x1f' | sha256sum
    "empty texts instead of NULL": 0x31D3E21CD64E241B,
}
IN_SQL: Final = (
    "SELECT ('x' || left(encode(sha256(convert_to(concat_ws(E'\\x1f', "
    + ", ".join(["coalesce(%s::text, E'\\x1e')"] * 8)
    + "), 'UTF8')), 'hex'), 16))::bit(64)::bigint"
)

by_case = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["case"])
fields = st.tuples(*[st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]))] * 8)


def fields_of(vector: dict[str, Any]) -> tuple[str | None, ...]:
    values = list(vector["fields"])
    if "text_unit" in vector:
        values[HASHED_FIELDS.index("text")] = vector["text_unit"] * vector["text_times"]
    return tuple(values)


@pytest.fixture(scope="module")
def postgres(services: Services) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(services.database) as connection:
        yield connection


@by_case
def test_a_vector_is_what_the_function_and_the_formula_give(vector: dict[str, Any]) -> None:
    digest = hashlib.sha256()
    for number, field in enumerate(fields_of(vector)):
        digest.update(b"\x1f" if number else b"")
        digest.update(b"\x1e" if field is None else field.encode())
    (expected,) = struct.unpack(">q", digest.digest()[:8])

    assert vector["row_hash"] == expected
    assert row_hash(fields_of(vector)) == expected


@by_case
def test_sql_says_the_same(vector: dict[str, Any], postgres: psycopg.Connection[Any]) -> None:
    assert postgres.execute(IN_SQL, fields_of(vector)).fetchone() == (vector["row_hash"],)


def test_the_vectors_that_were_computed_by_hand_have_not_moved() -> None:
    golden = {vector["case"]: vector["row_hash"] for vector in VECTORS}

    assert {case: golden[case] for case in BY_HAND} == BY_HAND
    assert GOLDEN["hash_version"] == HASH_VERSION == 1
    assert tuple(GOLDEN["fields"]) == HASHED_FIELDS


def test_no_two_vectors_are_the_same() -> None:
    assert len({vector["row_hash"] for vector in VECTORS}) == len(VECTORS)


@given(fields, fields)
def test_rows_that_differ_have_hashes_that_differ(
    one: tuple[str | None, ...], other: tuple[str | None, ...]
) -> None:
    assume(one != other)
    assert row_hash(one) != row_hash(other)


@given(fields, st.integers(0, 7))
def test_null_and_the_empty_text_are_not_the_same(row: tuple[str | None, ...], field: int) -> None:
    null, empty = list(row), list(row)
    null[field], empty[field] = None, ""

    assert row_hash(tuple(null)) != row_hash(tuple(empty))


@given(fields)
def test_a_hash_fits_postgresqls_bigint(row: tuple[str | None, ...]) -> None:
    assert -(2**63) <= row_hash(row) < 2**63
