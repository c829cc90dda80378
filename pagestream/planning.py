"""What a backfill will cost before it starts: requests, hours at the rate in force, disk. Pure.

A table's pages are taken from the first of these that says something: the last walk that went over
the whole table, or one that is under way; the site's own claim; the site itself, where it was
asked. A cost is that of a full walk, and of a copy that holds all of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Final, Literal, NamedTuple

import msgspec

from pagestream.progress import expected_rows, rows_walked
from schemas.tables import KINDS, Kind, Table
from schemas.walks import WalkState

Origin = Literal["walk", "claim", "source", "unknown"]
"""Who says how many pages a table has: our last walk, the site's record, the site when asked."""

DATABASE_BYTES_A_PAGE: Final = 2_200
TOPIC_BYTES_A_PAGE: Final = 810
PAGES_MEASURED: Final = "the demo's 4,822 pages of minutes"
"""Where these two were measured: the tables with their indexes, the log of pages and the ledger."""

IDS_A_SLICE: Final = 50_000
"""The most ids that one request of a listing by SQL brings."""


class Size(NamedTuple):
    """How many pages a table has, and who says so; `remark` is why nobody does."""

    pages: int | None
    origin: Origin
    remark: str | None = None


UNKNOWN: Final = Size(None, "unknown")


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How sites are asked: `per_minute` requests, None: no limit; `rows` at most in one response.

    `limits_all`: requests with a secret of their own fall under the limit too. `capped_rows` is how
    many rows the source gives to whoever has no secret, whatever is asked for.
    """

    per_minute: float | None
    limits_all: bool
    rows: int
    capped_rows: int | None


class TablePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a full walk of one table costs; None: unknown. `limited`: its requests need turns."""

    site: str
    kind: Kind
    pages: int | None
    origin: Origin
    remark: str | None
    requests: int | None
    limited: bool
    database_bytes: int | None
    topic_bytes: int | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What walking all tables costs, as far as it is known; `unknown` counts those it is not of.

    `hours` is the time that the limited requests take, None without a limit: then the sites' own
    speed decides.
    """

    tables: tuple[TablePlan, ...]
    unknown: int
    pages: int
    requests: int
    requests_per_minute: float | None
    hours: float | None
    database_bytes: int
    topic_bytes: int


def sizes_known(
    sites: Iterable[str], states: Mapping[Table, WalkState], claims: Mapping[str, int]
) -> dict[Table, Size]:
    """Return the size of both tables of each site, as far as anybody has said it already.

    A site claims a number for both tables together: what is left of it is shared out evenly.
    """
    sizes: dict[Table, Size] = {}
    for site in sites:
        tables = [Table(site, kind) for kind in KINDS]
        walked = {table: _walked(states.get(table)) for table in tables}
        left = claims.get(site, 0) - sum(pages or 0 for pages in walked.values())
        open_ = [table for table in tables if walked[table] is None]
        for table in tables:
            pages = walked[table]
            if pages is not None:
                sizes[table] = Size(pages, "walk")
            elif site in claims:
                sizes[table] = Size(max(ceil(left / len(open_)), 0), "claim")
            else:
                sizes[table] = UNKNOWN
    return sizes


def _walked(state: WalkState | None) -> int | None:
    if state is None or state.walk == 0 or state.status == "removed":
        return None
    if state.mode != "incremental" and state.position is not None:
        return expected_rows(state)
    return rows_walked(state, "full")


def plan(sizes: Mapping[Table, Size], secrets: Mapping[Table, str | None], pace: Pace) -> Plan:
    """Return the plan for these tables; `secrets` names the secrets that some requests carry."""
    tables = [_table(table, size, secrets.get(table), pace) for table, size in sizes.items()]
    known = [one for one in tables if one.pages is not None]
    limited = sum(one.requests or 0 for one in known if one.limited)
    return Plan(
        tables=tuple(tables),
        unknown=len(tables) - len(known),
        pages=sum(one.pages or 0 for one in known),
        requests=sum(one.requests or 0 for one in known),
        requests_per_minute=pace.per_minute,
        hours=None if pace.per_minute is None else limited / pace.per_minute / 60,
        database_bytes=sum(one.database_bytes or 0 for one in known),
        topic_bytes=sum(one.topic_bytes or 0 for one in known),
    )


def _table(table: Table, size: Size, secret: str | None, pace: Pace) -> TablePlan:
    pages = size.pages
    capped = secret is None and pace.capped_rows is not None
    rows = min(pace.rows, pace.capped_rows or pace.rows) if capped else pace.rows
    return TablePlan(
        site=table.site,
        kind=table.kind,
        pages=pages,
        origin=size.origin,
        remark=size.remark,
        requests=None if pages is None else _requests(pages, rows, pace.rows),
        limited=pace.per_minute is not None and (secret is None or pace.limits_all),
        database_bytes=None if pages is None else pages * DATABASE_BYTES_A_PAGE,
        topic_bytes=None if pages is None else pages * TOPIC_BYTES_A_PAGE,
    )


def _requests(pages: int, rows: int, rows_asked: int) -> int:
    """Return the requests of a full walk: its pages, and then the listing of their ids by SQL."""
    ids = min(50 * rows_asked, IDS_A_SLICE)
    return max(ceil(pages / rows), 1) + max(ceil(pages / ids), 1)


def unknown_tables(sizes: Mapping[Table, Size], wanted: Sequence[Table]) -> list[Table]:
    """Return the wanted tables whose size nobody has said."""
    return [table for table in wanted if sizes[table].pages is None]
