"""The oracle itself: a faithful copy has no difference, every planted one is found and named."""

import ast
import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from fix_services import created_database
from fix_source import UNTYPED, build_database, make_page
from oracle import compare, storable
from servers import Services

from schemas.hashing import row_hash

Row = dict[str, Any]
ORACLE: Final = Path(__file__).parents[1] / "oracle.py"
FIRST: Final = dict(make_page("minutes", "CityCouncil", "2024-02-29", 1, "Call to order."))
SECOND: Final = dict(make_page("minutes", "CityCouncil", "2024-02-29", 2, "Roll call: présent"))
AGENDA: Final = dict(make_page("agenda", "CityCouncil", "2024-02-29", 1, "1. Call to order"))

# A row as the source has it, and what is stored of it where that is something else; None: nothing.
ODD: Final[list[tuple[Row, Row | None]]] = [
    ({"id": "nul", "page": 1, "text": "a\0b"}, {"text": "a\ufffdb", "sanitised": ["text"]}),
    ({"id": "bom", "page": 1, "text": "\ufeffa"}, {"text": "a", "sanitised": ["text"]}),
    ({"id": "invalid", "page": 1, "text": b"a\xff"}, None),
    ({"id": "number", "page": "3"}, {"page_number": 3}),
    ({"id": "zeros", "page": "007"}, {"page_number": 7}),
    ({"id": "float", "page": 4.0}, {"page_number": 4}),
    ({"id": "greatest", "page": 2147483647}, {}),
    ({"id": "today", "page": 1, "date": "today"}, {"meeting_date": None}),
    ({"id": "no-day", "page": 1, "date": "2024-02-30"}, {"meeting_date": None}),
    ({"id": "basic", "page": 1, "date": "20240229"}, {"meeting_date": None}),
    ({"id": "empty-date", "page": 1, "date": ""}, {"meeting_date": None}),
    ({"id": "no-text", "page": 1, "text": None}, {}),
    ({"id": "empty", "page": 1, "text": ""}, {}),
    ({"id": "emoji", "page": 1, "text": "🏛️ " * 3, "meeting": "Ñ/'"}, {}),
    (
        {"id": "year", "page": 1, "date": 2024},
        {"meeting_date_text": "2024", "meeting_date": None, "sanitised": ["date"]},
    ),
    ({"id": "half", "page": 1.5}, None),
    ({"id": "negative", "page": -1}, None),
    ({"id": "no-page", "page": None}, None),
    ({"id": "too-great", "page": 1 << 40}, None),
    ({"id": "a-number-as-text", "page": 1, "text": 7}, None),
    ({"id": "control\n", "page": 1}, None),
    ({"id": "", "page": 1}, None),
    ({"id": None, "page": 1}, None),
    ({"id": None, "page": 1}, None),
    ({"id": None, "page": 2}, None),
    ({"id": 17, "page": 1}, None),
]


@dataclass(frozen=True)
class Copy:
    """A site's file and its faithful copy, to be spoilt."""

    site: str
    source: Path
    database: str

    def differences(self) -> str:
        return str(compare(self.source, self.database, self.site))

    def spoil(self, statement: str) -> None:
        """Run a statement in the copy's schema; `{site}`, `{first}`, `{second}` are filled in."""
        filled = statement.format(site=self.site, first=FIRST["id"], second=SECOND["id"])
        with psycopg.connect(self.database) as postgres:
            postgres.execute("SET search_path = pagestream_1, pagestream_log")
            assert postgres.execute(filled.encode()).rowcount > 0


@pytest.fixture(scope="module")
def copies(services: Services, migrated_template: str) -> Iterator[str]:
    """A database with the schema, shared by the copies of all tests: each has its own site."""
    with created_database(services, migrated_template) as url:
        yield url


@pytest.fixture
def copy(copies: str, tmp_path: Path) -> Copy:
    made = Copy(f"{uuid.uuid4().hex[:10]}.ca", tmp_path / "meetings.db", copies)
    build_database(
        made.source,
        agendas=[AGENDA],
        minutes=[FIRST, SECOND, *(row for row, _ in ODD)],
        columns=UNTYPED,
    )
    with psycopg.connect(copies) as postgres:
        postgres.execute("SET search_path = pagestream_1, pagestream_log")
        _copy_by_hand(postgres, made.site)
    return made


def _copy_by_hand(postgres: psycopg.Connection[Any], site: str) -> None:
    municipality = row_hash((site,))
    postgres.execute(
        "INSERT INTO municipality (id, subdomain, placeholder) VALUES (%s, %s, false)",
        (municipality, site),
    )
    _store(postgres, municipality, "agenda", AGENDA, {})
    for row, stored in [(FIRST, {}), (SECOND, {}), *ODD]:
        if stored is not None:
            _store(postgres, municipality, "minutes", row, stored)
    nameless = {json.dumps(row) for row, _ in ODD if row["id"] in (None, 17, "", "control\n")}
    for row, stored in ODD:
        if stored is None and json.dumps(row, default=repr) not in nameless:
            _letter(postgres, site, row["id"], row["id"])
    for number, _ in enumerate(nameless):
        _letter(postgres, site, f"digest-{number}", None)


def _store(
    postgres: psycopg.Connection[Any], municipality: int, kind: str, row: Row, other: Row
) -> None:
    day = row.get("date")
    page = {
        "meeting_name": row.get("meeting"),
        "meeting_date_text": day,
        "meeting_date": date(2024, 2, 29) if day == "2024-02-29" else None,
        "page_number": row["page"],
        "text": row.get("text"),
        "page_image": row.get("page_image"),
        "entities": row.get("entities_json"),
        "votes": row.get("votes_json"),
        "sanitised": None,
        **other,
    }
    fields = (page["meeting_name"], page["meeting_date_text"], str(page["page_number"]))
    rest = (page["text"], page["page_image"], page["entities"], page["votes"])
    document = row_hash((str(municipality), kind, *fields[:2]))
    values = page | {
        "municipality": municipality,
        "kind": kind,
        "id": row["id"],
        "document": document,
        "hash": row_hash((row["id"], *fields, *rest)),
    }
    postgres.execute(
        "INSERT INTO meeting_document "
        "(id, municipality_id, kind, meeting_name, meeting_date, meeting_date_text) VALUES "
        "(%(document)s, %(municipality)s, %(kind)s, %(meeting_name)s, %(meeting_date)s, "
        "%(meeting_date_text)s) ON CONFLICT DO NOTHING",
        values,
    )
    postgres.execute(
        "INSERT INTO meeting_page (municipality_id, document_id, row_hash, page_number, "
        "hash_version, kind, id, text, page_image, entities, votes, sanitised) VALUES "
        "(%(municipality)s, %(document)s, %(hash)s, %(page_number)s, 1, %(kind)s, %(id)s, "
        "%(text)s, %(page_image)s, %(entities)s, %(votes)s, %(sanitised)s)",
        values,
    )


def _letter(
    postgres: psycopg.Connection[Any], site: str, identity: str, page_id: str | None
) -> None:
    postgres.execute(
        "INSERT INTO dead_letter (site, kind, identity, page_id, found_by, reason, message, topic, "
        "partition, record_offset, headers, original, original_length, original_digest, "
        "first_seen, last_seen) VALUES (%s, 'minutes', %s, %s, 'walker', 'bad_id', 'no', "
        "'dead-letters', 0, 0, '{}', '', 0, '', now(), now())",
        (site, identity, page_id),
    )


def test_a_faithful_copy_has_no_difference(copy: Copy) -> None:
    found = compare(copy.source, copy.database, copy.site)

    assert not found, found
    assert (found.rows, found.rejected) == (17, 11)
    assert "no difference" in str(found)


def test_what_no_sqlite_file_can_hold_is_sanitised_too() -> None:
    assert storable("a\0\ud83d\udfff\ufeffé") == "a\ufffd\ufffd\ufffdé"
    assert storable(None) is None


def test_a_source_without_rows_has_an_empty_copy(copies: str, tmp_path: Path) -> None:
    site = f"{uuid.uuid4().hex[:10]}.ca"
    build_database(tmp_path / "meetings.db", change=lambda file: file.execute("DROP TABLE agendas"))
    with psycopg.connect(copies) as postgres:
        postgres.execute(
            "INSERT INTO pagestream_1.municipality (id, subdomain, placeholder) "
            "VALUES (%s, %s, true)",
            (row_hash((site,)), site),
        )
    assert not compare(tmp_path / "meetings.db", copies, site)


MINE: Final = "municipality_id = (SELECT id FROM municipality WHERE subdomain = '{site}')"
PAGE: Final = "UPDATE meeting_page SET {} WHERE id = '{{first}}' AND " + MINE.replace(
    "{site}", "{{site}}"
)
SWAP: Final = (
    "UPDATE meeting_page AS one SET (row_hash, page_number, text, page_image) = "
    "(SELECT row_hash, page_number, text, page_image FROM meeting_page AS other "
    "WHERE other.id IN ('{first}', '{second}') AND other.id <> one.id AND " + MINE + ") "
    "WHERE id IN ('{first}', '{second}') AND " + MINE
)
EXTRA: Final = (
    "INSERT INTO meeting_page SELECT municipality_id, document_id, row_hash, page_number, "
    "hash_version, kind, 'ffff', text, page_image, entities, votes, sanitised "
    "FROM meeting_page WHERE id = '{first}' AND " + MINE
)
NOBODY: Final = (
    "INSERT INTO meeting_document (id, municipality_id, kind, meeting_name) "
    "SELECT id, id, 'agenda', 'Nobody' FROM municipality WHERE subdomain = '{site}'"
)
PLANTED: Final = {
    "a missing row": (
        "DELETE FROM meeting_page WHERE id = '{first}' AND " + MINE,
        ["missing: minutes/{first}"],
    ),
    "an extra row": (EXTRA, ["extra: minutes/ffff"]),
    "a row of the other kind": (
        PAGE.format("kind = 'agenda'"),
        ["missing: minutes/{first}", "extra: agenda/{first}"],
    ),
    "two rows swapped": (
        SWAP,
        ["different: minutes/{first} page_number: 1 in", "different: minutes/{second} text: "],
    ),
    "one byte": (
        PAGE.format("text = 'Call to ordeR.'"),
        ["{first} text: differs from character 12 on: 'll to order.' in the source, 'll to ordeR"],
    ),
    "a cut text": (PAGE.format("text = 'Call'"), ["{first} text: differs from character 4 on"]),
    "NULL for a text": (PAGE.format("text = NULL"), ["{first} text: 'Call to order.' in the"]),
    "an empty text for NULL": (
        "UPDATE meeting_page SET text = '' WHERE id = 'no-text' AND " + MINE,
        ["minutes/no-text text: None in the source, '' stored"],
    ),
    "a page number": (PAGE.format("page_number = 3"), ["{first} page_number: 1 in the source, 3"]),
    "an image": (PAGE.format("page_image = '/x'"), ["{first} page_image: differs"]),
    "entities": (PAGE.format("entities = '{{{{}}}}'"), ["{first} entities: differs"]),
    "votes": (PAGE.format("votes = NULL"), ["{first} votes: "]),
    "a mark too few": (
        "UPDATE meeting_page SET sanitised = NULL WHERE id = 'nul' AND " + MINE,
        ["minutes/nul sanitised: ['text'] in the source, None stored"],
    ),
    "a mark too many": (PAGE.format("sanitised = ARRAY['date']"), ["{first} sanitised: None in"]),
    "no hash": (PAGE.format("row_hash = NULL"), ["{first} row_hash: ", "None stored"]),
    "another hash": (PAGE.format("row_hash = row_hash + 1"), ["{first} row_hash: "]),
    "another formula": (PAGE.format("hash_version = 2"), ["{first} hash_version: 1 in the source"]),
    "another meeting": (
        "UPDATE meeting_document SET meeting_name = 'Citycouncil' WHERE kind = 'agenda' AND "
        + MINE,
        [
            "agenda/" + AGENDA["id"] + " meeting_name: differs from character 4 on",
            "documents: agenda 'Citycouncil' of '2024-02-29' is there 1 times, not 0",
            "documents: agenda 'CityCouncil' of '2024-02-29' is there 0 times, not 1",
        ],
    ),
    "another day": (
        "UPDATE meeting_document SET meeting_date = '2024-03-01' WHERE kind = 'agenda' AND " + MINE,
        ["meeting_date: datetime.date(2024, 2, 29) in", "has the date 2024-03-01"],
    ),
    "a document without pages": (
        NOBODY,
        ["documents: agenda 'Nobody' of None is there 1 times, not 0"],
    ),
    "a dead letter too few": (
        "DELETE FROM dead_letter WHERE page_id = 'half' AND site = '{site}'",
        ["dead letters: minutes/half is none"],
    ),
    "a nameless dead letter too few": (
        "DELETE FROM dead_letter WHERE identity = 'digest-0' AND site = '{site}'",
        ["dead letters: minutes: 5 source rows without a usable id, but 4 dead letters"],
    ),
    "a dead letter of a row that can be stored": (
        "UPDATE dead_letter SET page_id = '{first}' WHERE page_id = 'half' AND site = '{site}'",
        ["dead letters: minutes/{first} is one, but can be stored"],
    ),
    "a removed site": (
        "UPDATE municipality SET removed = true WHERE subdomain = '{site}'",
        ["documents: municipality {site}: 1 rows, not 1 that is not removed"],
    ),
    "another site's name": (
        "UPDATE municipality SET subdomain = 'not-' || subdomain WHERE subdomain = '{site}'",
        ["missing: minutes/{first}", "missing: agenda/", "municipality {site}: 0 rows"],
    ),
}


@pytest.mark.parametrize(("statement", "named"), PLANTED.values(), ids=PLANTED)
def test_a_planted_difference_is_found_and_named(
    statement: str, named: list[str], copy: Copy
) -> None:
    copy.spoil(statement)

    found = copy.differences()
    for part in named:
        assert part.format(site=copy.site, first=FIRST["id"], second=SECOND["id"]) in found
    assert "no difference" not in found


def test_what_changes_in_the_source_is_found_and_only_the_first_are_listed(copy: Copy) -> None:
    new = [(f"new-{number:03}",) for number in range(100)]
    with closing(sqlite3.connect(copy.source)) as file, file:
        file.execute("DELETE FROM minutes WHERE id = ?", (FIRST["id"],))
        file.executemany("INSERT INTO agendas (id, page) VALUES (?, 1)", new)

    found = copy.differences()
    assert f"extra: minutes/{FIRST['id']}" in found
    assert "missing: agenda/new-000\n" in found
    assert "missing: 80 more" in found


def test_run_as_a_program_it_exits_with_its_finding(copy: Copy) -> None:
    def run() -> tuple[int, str]:
        arguments = [str(ORACLE), str(copy.source), copy.database, copy.site]
        done = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": ""},
            cwd=copy.source.parent,
        )
        return done.returncode, done.stdout

    assert run() == (0, "17 rows should be stored, 11 should be dead letters\nno difference\n")
    copy.spoil(EXTRA)
    code, shown = run()
    assert code == 1
    assert shown.endswith("extra: minutes/ffff\n")


def test_it_shares_no_code_with_what_it_judges() -> None:
    imported = set()
    for node in ast.walk(ast.parse(ORACLE.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
    assert imported <= {*sys.stdlib_module_names, "psycopg"}
