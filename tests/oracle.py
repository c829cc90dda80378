"""An independent oracle: says whether PostgreSQL holds exactly what a site's SQLite file holds.

It imports nothing from the project and states its rules a second time, so that a mistake in the
program is not repeated here. Both sides are read in the order of the ids and compared row by row,
in constant memory, field by field.

    python tests/oracle.py city.db postgresql://ana@localhost/pagestream alameda.ca

prints every difference and exits with 1, or says that there is none and exits with 0.

A source row is stored unless its id is not a text of 1 to 200 plain characters, its page is not a
whole number from 0 to 2^31-1, or another column is neither text nor null (a date may be anything).
What cannot be stored must be a dead letter, and nothing else may be one.
"""

import base64
import datetime as dt
import hashlib
import json
import re
import sqlite3
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

TABLES: Final = {"agenda": "agendas", "minutes": "minutes"}
COLUMNS: Final = {
    # column of the source → column of the view pagestream.meeting_page
    "meeting": "meeting_name",
    "date": "meeting_date_text",
    "text": "text",
    "page_image": "page_image",
    "entities_json": "entities",
    "votes_json": "votes",
}
MARKS: Final = ("meeting", "date", "text", "page_image", "entities", "votes")
NOT_PLAIN: Final = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))))
MOST_SHOWN: Final = 20

Row = dict[str, Any]
Key = tuple[str | None, str | None]


@dataclass
class Differences:
    """What differs between a site's file and its copy; empty when the copy is faithful.

    `rows` is the number of source rows that should be stored, `rejected` of those that should not.
    """

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    rows: int = 0
    rejected: int = 0

    def __bool__(self) -> bool:
        return any(self._found().values())

    def __str__(self) -> str:
        lines = [f"{self.rows} rows should be stored, {self.rejected} should be dead letters"]
        for what, found in self._found().items():
            lines += [f"{what}: {each}" for each in found[:MOST_SHOWN]]
            if len(found) > MOST_SHOWN:
                lines.append(f"{what}: {len(found) - MOST_SHOWN} more")
        return "\n".join(lines if self else [*lines, "no difference"])

    def _found(self) -> dict[str, list[str]]:
        return {
            "missing": self.missing,
            "extra": self.extra,
            "different": self.different,
            "documents": self.documents,
            "dead letters": self.dead_letters,
        }


def compare(source: Path, database: str, site: str) -> Differences:
    """Return how the copy of `site` in the database (a connection string) differs from its file."""
    found = Differences()
    file = f"file:{source}?mode=ro"
    with closing(sqlite3.connect(file, uri=True)) as sqlite, psycopg.connect(database) as postgres:
        # As the site itself reads its file: what is not UTF-8 is replaced.
        sqlite.text_factory = lambda stored: str(stored, "utf-8", "replace")
        # One moment for all that is read of the copy.
        postgres.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for kind in TABLES:
            _compare_table(_source_rows(sqlite, kind), postgres, site, kind, found)
        _compare_municipality(postgres, site, found)
    return found


@dataclass
class Expectation:
    """What one table of the source asks of the copy, known when all its rows have been read.

    `documents` are (meeting, raw date text); `rejected` are the ids of rows that cannot be stored,
    `nameless` the contents of those that have no usable id: equal ones are one dead letter.
    """

    rows: int = 0
    documents: set[Key] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)


def _compare_table(
    rows: Iterator[Row],
    postgres: psycopg.Connection[Any],
    site: str,
    kind: str,
    found: Differences,
) -> None:
    expected = Expectation()
    for want, have in _pairs(_storable_rows(rows, expected), _stored(postgres, site, kind)):
        if want is None:
            found.extra.append(f"{kind}/{have['id']}")
        elif have is None:
            found.missing.append(f"{kind}/{want['id']}")
        else:
            found.different += _compare_fields(kind, want, have)
    _compare_documents(postgres, site, kind, expected, found)
    _compare_dead_letters(postgres, site, kind, expected, found)
    found.rows += expected.rows
    found.rejected += len(expected.rejected) + len(expected.nameless)


def _pairs(wants: Iterator[Row], haves: Iterator[Row]) -> Iterator[tuple[Any, Any]]:
    """Yield the rows of one id from both sides together; None stands for the side without it."""
    want, have = next(wants, None), next(haves, None)
    while want is not None or have is not None:
        if have is None or (want is not None and want["id"] < have["id"]):
            yield want, None
            want = next(wants, None)
        elif want is None or have["id"] < want["id"]:
            yield None, have
            have = next(haves, None)
        else:
            yield want, have
            want, have = next(wants, None), next(haves, None)


# The source


def _source_rows(sqlite: sqlite3.Connection, kind: str) -> Iterator[Row]:
    table = TABLES[kind]
    names = [row[1] for row in sqlite.execute(f"PRAGMA table_info({table})")]
    if not names:
        return
    rows = sqlite.execute(f"SELECT * FROM {table} ORDER BY CAST(id AS BLOB)")
    for row in rows:
        yield {name: _as_served(value) for name, value in zip(names, row, strict=True)}


def _as_served(value: object) -> object:
    """Return a value as Datasette's JSON gives it: bytes as an object, never as text.

    Versions before 1.0 give bytes as text where they are UTF-8: this does not speak for those.
    """
    if isinstance(value, bytes):
        return {"$base64": True, "encoded": base64.b64encode(value).decode()}
    return value


def _storable_rows(rows: Iterator[Row], expected: Expectation) -> Iterator[Row]:
    """Yield each row as it should be stored, and note in `expected` what else it asks for."""
    for row in rows:
        page = expected_page(row)
        if page is not None:
            expected.rows += 1
            expected.documents.add((page["meeting_name"], page["meeting_date_text"]))
            yield page
        elif is_plain_id(row["id"]):
            expected.rejected.add(row["id"])
        else:
            expected.nameless.add(repr(row))


def expected_page(row: Row) -> Row | None:
    """Return a source row as the view should show it, or None when it cannot be stored."""
    number = whole_number(row.get("page"))
    texts = {column: row.get(column) for column in COLUMNS}
    if texts["date"] is not None and not isinstance(texts["date"], str):
        texts["date"] = json.dumps(texts["date"])
    is_text = all(text is None or isinstance(text, str) for text in texts.values())
    if not is_plain_id(row["id"]) or number is None or not is_text:
        return None
    clean = {column: storable(text) for column, text in texts.items()}
    page: Row = {COLUMNS[column]: text for column, text in clean.items()}
    pairs = zip(MARKS, COLUMNS, strict=True)
    marks = [mark for mark, column in pairs if clean[column] != row.get(column)]
    page |= {
        "id": row["id"],
        "page_number": number,
        "meeting_date": real_date(clean["date"]),
        "sanitised": marks or None,
        "row_hash": hash_of(page, row["id"], number),
        "hash_version": 1,
    }
    return page


def is_plain_id(value: object) -> bool:
    """Tell whether a value can be a page's id."""
    return isinstance(value, str) and 1 <= len(value) <= 200 and NOT_PLAIN.isdisjoint(value)


def whole_number(value: object) -> int | None:
    """Return a page's number: 3, 3.0 and "3" are 3; None for what is none."""
    if isinstance(value, str):
        digits = re.fullmatch("0*([0-9]{1,10})", value)
        value = int(digits[1]) if digits else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else None


def storable(text: str | None) -> str | None:
    """Return text without what PostgreSQL cannot store, and without byte order marks.

    NUL and lone surrogates become U+FFFD each.
    """
    if text is None:
        return None
    kept = text.replace("\ufeff", "").replace("\0", "\ufffd")
    try:
        kept.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if 0xD800 <= ord(each) <= 0xDFFF else each for each in kept)
    return kept


def real_date(text: str | None) -> dt.date | None:
    """Return the date of a text like 2024-02-29; None for all else, 2024-02-30 and "today" too."""
    parts = re.fullmatch("([0-9]{4})-([0-9]{2})-([0-9]{2})", text or "")
    try:
        return dt.date(*map(int, parts.groups())) if parts else None
    except ValueError:
        return None


def hash_of(page: Row, page_id: str, number: int) -> int:
    """Return the row hash: SHA-256's first eight bytes over the fields, parted by U+001F."""
    fields = [page_id, page["meeting_name"], page["meeting_date_text"], str(number)]
    fields += [page[name] for name in ("text", "page_image", "entities", "votes")]
    content = b"\x1f".join(b"\x1e" if each is None else each.encode() for each in fields)
    (number,) = struct.unpack(">q", hashlib.sha256(content).digest()[:8])
    return number


# The copy


def _stored(postgres: psycopg.Connection[Any], site: str, kind: str) -> Iterator[Row]:
    query = (
        "SELECT * FROM pagestream.meeting_page WHERE subdomain = %s AND kind = %s "
        'ORDER BY id COLLATE "C"'
    )
    with postgres.cursor(f"stored_{kind}", row_factory=dict_row) as cursor:
        cursor.itersize = 2000
        yield from cursor.execute(query, (site, kind))


def _compare_fields(kind: str, want: Row, have: Row) -> Iterator[str]:
    for name, value in want.items():
        if type(have[name]) is not type(value) or have[name] != value:
            yield f"{kind}/{want['id']} {name}: {_contrast(value, have[name])}"


def _contrast(want: object, have: object) -> str:
    if isinstance(want, str) and isinstance(have, str):
        pairs = enumerate(zip(want, have, strict=False))
        at = next((n for n, (a, b) in pairs if a != b), min(len(want), len(have)))
        start = max(0, at - 10)
        return (
            f"differs from character {at} on: {want[start : at + 20]!r} in the source, "
            f"{have[start : at + 20]!r} stored"
        )
    return f"{want!r} in the source, {have!r} stored"


def _compare_documents(
    postgres: psycopg.Connection[Any],
    site: str,
    kind: str,
    expected: Expectation,
    found: Differences,
) -> None:
    query = (
        "SELECT meeting_name, meeting_date_text, meeting_date "
        "FROM pagestream.meeting_document WHERE subdomain = %s AND kind = %s"
    )
    stored: Counter[Key] = Counter()
    for name, text, date in postgres.execute(query, (site, kind)):
        stored[name, text] += 1
        if date != real_date(text):
            found.documents.append(f"{kind} {name!r} of {text!r} has the date {date}")
    for key in sorted(stored.keys() | expected.documents, key=repr):
        wanted = int(key in expected.documents)
        if stored[key] != wanted:
            name, text = key
            count = f"there {stored[key]} times, not {wanted}"
            found.documents.append(f"{kind} {name!r} of {text!r} is {count}")


def _compare_dead_letters(
    postgres: psycopg.Connection[Any],
    site: str,
    kind: str,
    expected: Expectation,
    found: Differences,
) -> None:
    query = "SELECT page_id FROM pagestream.dead_letter WHERE subdomain = %s AND kind = %s"
    stored = [page_id for (page_id,) in postgres.execute(query, (site, kind))]
    named = {page_id for page_id in stored if page_id is not None}
    for page_id in sorted(expected.rejected ^ named):
        what = "is none" if page_id in expected.rejected else "is one, but can be stored"
        found.dead_letters.append(f"{kind}/{page_id} {what}")
    if stored.count(None) != len(expected.nameless):
        found.dead_letters.append(
            f"{kind}: {len(expected.nameless)} source rows without a usable id, "
            f"but {stored.count(None)} dead letters without one"
        )


def _compare_municipality(postgres: psycopg.Connection[Any], site: str, found: Differences) -> None:
    query = "SELECT removed FROM pagestream.municipality WHERE subdomain = %s"
    rows = postgres.execute(query, (site,)).fetchall()
    if rows != [(False,)]:
        found.documents.append(f"municipality {site}: {len(rows)} rows, not 1 that is not removed")


if __name__ == "__main__":
    differences = compare(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    sys.stdout.write(f"{differences}\n")
    sys.exit(1 if differences else 0)
