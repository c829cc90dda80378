"""What is asked of a site: the paths and queries of its table endpoint, and the SQL for the rest.

Everything that is not a parameter is fixed text; table names come from a closed list.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from schemas.commands import TakeStep
from schemas.tables import Kind
from schemas.walks import Window

TABLES: Final[dict[Kind, str]] = {"agenda": "agendas", "minutes": "minutes"}
"""The source's own name of each kind's table."""

SQL_PATHS: Final = ("/meetings/-/query.json", "/meetings.json")
"""Where a site takes SQL: Datasette 1.0, then 0.6x. Each answers the other's with a refusal."""

MOST_LISTED: Final = 50_000
"""The most ids of one slice of a listing."""

_LISTED_FOR_EACH_ROW: Final = 50

_FIRST_IDS: Final = 100

MAX_IDS_BYTES: Final = 7_000
"""How long the ids in one address may be: with the rest it stays below the usual 8 kB."""

# Only texts, which all ids that can be stored are; SQLite makes no JSON of BLOBs.
_LISTING_SQL: Final = """\
with remaining as (select id from {table} where id > :after and typeof(id) = 'text'{window})
select json_group_array(id) as ids, (select count(*) from remaining) as remaining
from (select id from remaining order by id limit :slice)"""
_WINDOW_SQL: Final = " and date >= :from and date <= :to"
_ROWS_SQL: Final = """\
with asked as (select * from {table} where id in (select value from json_each(:ids)))
select *, (select count(*) from asked) as rows_in_all from asked order by id"""

# The text of every statement that a site is ever asked.
_LISTINGS: Final[Mapping[tuple[Kind, bool], str]] = {
    (kind, windowed): _LISTING_SQL.format(table=table, window=_WINDOW_SQL if windowed else "")
    for kind, table in TABLES.items()
    for windowed in (False, True)
}
_ROWS: Final[Mapping[Kind, str]] = {
    kind: _ROWS_SQL.format(table=table) for kind, table in TABLES.items()
}

# By id always: a site may sort by something that is not unique, and then its cursors lose rows.
_BY_ID: Final = {"_sort": "id", "_shape": "objects"}
# Counting and suggesting facets take most of a site's time.
_PLAIN: Final = {"_nofacet": "1", "_nosuggest": "1"}
_UNCOUNTED: Final = {"_nocount": "1"}


def table_path(kind: Kind) -> str:
    """Return the path of a kind's table endpoint."""
    return f"/meetings/{TABLES[kind]}.json"


def pages_query(step: TakeStep) -> dict[str, str]:
    """Return the query of a step that reads pages."""
    query = {**_BY_ID, "_size": str(step.rows), **_UNCOUNTED, **_PLAIN, **_dates(step.window)}
    if step.position.cursor is not None:
        query["_next"] = step.position.cursor
    return query


def ids_query(step: TakeStep) -> dict[str, str]:
    """Return the query of the same rows as `pages_query`, of each only its id."""
    return {**pages_query(step), "_col": "id"}


def first_ids_query() -> dict[str, str]:
    """Return the query of the first ids of a table: more than one, for some may be unusable."""
    return {**_BY_ID, "_size": str(_FIRST_IDS), **_UNCOUNTED, **_PLAIN, "_col": "id"}


def rows_query(ids: Sequence[str], cursor: str | None) -> dict[str, str]:
    """Return the table endpoint's query of the rows with these ids, and how many they are.

    As JSON an id may hold commas, and all-digit ones stay texts. 1.0 counts when it is asked to,
    0.6x when it is not told otherwise. `max` is as many rows as the site gives at once.
    """
    query = {**_BY_ID, "_size": "max", **_PLAIN, "_extra": "count", "id__in": _as_json(ids)}
    if cursor is not None:
        query["_next"] = cursor
    return query


def present_query(ids: Sequence[str], cursor: str | None) -> dict[str, str]:
    """Return the query of the same rows as `rows_query`, of each only its id."""
    return {**rows_query(ids, cursor), "_col": "id"}


def listing_sql(step: TakeStep) -> dict[str, str]:
    """Return the SQL query of one slice of a listing, and how many ids remained before it."""
    query = {
        "sql": _LISTINGS[step.kind, step.window is not None],
        "_shape": "objects",
        "after": step.position.after or "",
        "slice": str(slice_size(step)),
    }
    if step.window is not None:
        query["from"], query["to"] = step.window
    return query


def slice_size(step: TakeStep) -> int:
    """Return how many ids a step's slice of the listing has: fewer where fewer rows are asked."""
    return min(step.rows * _LISTED_FOR_EACH_ROW, MOST_LISTED)


def rows_sql(kind: Kind, ids: Sequence[str]) -> dict[str, str]:
    """Return the SQL query of the rows with these ids, each with the number of all of them."""
    return {"sql": _ROWS[kind], "_shape": "objects", "ids": _as_json(ids)}


def split_ids(ids: Iterable[str], control_id: str) -> Iterator[tuple[str, ...]]:
    """Yield the ids in parts that fit into an address, with the control id in front of each."""
    part: list[str] = []
    length = start = _length(control_id)
    for page_id in ids:
        if part and length + _length(page_id) > MAX_IDS_BYTES:
            yield (control_id, *part)
            part, length = [], start
        part.append(page_id)
        length += _length(page_id)
    yield (control_id, *part)


def _dates(window: Window | None) -> dict[str, str]:
    return {} if window is None else {"date__gte": window[0], "date__lte": window[1]}


def _as_json(ids: str | Sequence[str]) -> str:
    return json.dumps(ids, ensure_ascii=False, separators=(",", ":"))


def _length(page_id: str) -> int:
    """Return how long an id is in an address, with the comma before the next."""
    return len(quote(_as_json(page_id) + ",", safe=""))
