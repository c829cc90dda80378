"""One partition per table, the same everywhere: golden vectors, recomputed independently."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from schemas.tables import KINDS, PARTITIONS, Table, partition_of
from schemas.topics import TOPICS

GOLDEN: Final = json.loads(
    (Path(schemas.__file__).parent / "examples" / "partitions.json").read_text()
)
VECTORS: Final[list[dict[str, Any]]] = GOLDEN["vectors"]
BY_HAND: Final = {
    # printf %s KEY | sha256sum, its first 16 digits, modulo 48
    "alameda.ca/minutes": ("2e92dcb6d5a0c4bf", 31),
    "alameda.ca/agenda": ("0433ad68b746a79f", 47),
    "alameda.ca": ("08b560f9789ee40d", 45),
    "0/agenda": ("0aa128a79af19182", 34),
}

sites = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,9}){0,3}", fullmatch=True)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["key"])
def test_a_vector_is_what_the_function_and_the_formula_give(vector: dict[str, Any]) -> None:
    digits = hashlib.sha256(vector["key"].encode()).hexdigest()[:16]

    assert vector["sha256_starts_with"] == digits
    assert vector["partition"] == int(digits, 16) % 48
    assert vector["partition"] == partition_of(vector["key"])


def test_the_vectors_that_were_computed_by_hand_have_not_moved() -> None:
    golden = {v["key"]: (v["sha256_starts_with"], v["partition"]) for v in VECTORS}

    assert {key: golden[key] for key in BY_HAND} == BY_HAND
    assert GOLDEN["partitions"] == PARTITIONS == 48


@given(site=sites, kind=st.sampled_from(KINDS), identity=st.text(min_size=1))
def test_every_key_of_a_table_leads_to_its_one_partition(
    site: str, kind: Any, identity: str
) -> None:
    table = Table(site, kind)
    again = Table.parse(table.key)
    named, _ = Table.parse_record_key(table.record_key(identity))

    assert {table.partition, again.partition, named.partition} == {partition_of(f"{site}/{kind}")}
    for key in (table.barrier_key, table.removal_key):
        assert Table.parse(key.partition("#")[0]).partition == table.partition
    assert 0 <= table.partition < PARTITIONS


def test_no_topic_has_partitions_of_its_own() -> None:
    assert not any("partition" in setting for topic in TOPICS for setting in topic.config())


def test_the_tables_of_many_sites_spread_over_all_partitions() -> None:
    used = {Table(f"city-{number}.ca", kind).partition for number in range(500) for kind in KINDS}

    assert used == set(range(PARTITIONS))
