"""The sites: their records with what their tables' states say, and how one is added or removed."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import replace

from pagestream.progress import rows_walked
from pagestream.requests import addressed
from runtime.errors import PagestreamError
from runtime.settings import Settings
from schemas.commands import AddSite, RemoveSite
from schemas.records import Municipality
from schemas.tables import KINDS, Kind, Table
from schemas.walks import RequestedMode, Schedule, Status, WalkState

_STORED: Final = "SELECT count(*) FROM pagestream.meeting_page WHERE subdomain = %s"


class SiteTable(msgspec.Struct, frozen=True, kw_only=True):
    """What concerns the upkeep of one table.

    `pages` is how many the last walk over the whole table found, None where that was not the newest
    walk. `schedule` None: that of the settings. `secret` names the secret that its requests carry.
    `as_of` is the time for which it was last found complete, None: never.
    """

    kind: Kind
    status: Status
    pages: int | None
    schedule: Schedule | None
    next_walk_at: datetime | None
    next_walk_mode: RequestedMode | None
    secret: str | None
    as_of: datetime | None


class Site(msgspec.Struct, frozen=True):
    """A site's record, and its tables: none where it was removed."""

    record: Municipality
    tables: tuple[SiteTable, ...]


def known(records: Iterable[Municipality], states: Mapping[Table, WalkState]) -> list[Site]:
    """Return every site that was ever added, in the order of the records."""
    return [Site(record, tuple(_tables(record.site, states))) for record in records]


def _tables(site: str, states: Mapping[Table, WalkState]) -> Iterator[SiteTable]:
    for kind in KINDS:
        state = states.get(Table(site, kind))
        if state is not None and state.status != "removed":
            yield SiteTable(
                kind=kind,
                status=state.status,
                pages=rows_walked(state, "full"),
                schedule=state.schedule,
                next_walk_at=state.next_walk_at,
                next_walk_mode=state.next_walk_mode,
                secret=state.secret,
                as_of=state.verified_at,
            )


def requests_to_add(record: Municipality, secret: str | None = None) -> list[AddSite]:
    """Return the requests that make both tables of a site known; `secret` is a secret's name."""
    tables = [Table(record.site, kind) for kind in KINDS]
    return [AddSite(**addressed(table), municipality=record, secret=secret) for table in tables]


def requests_to_remove(record: Municipality) -> list[RemoveSite]:
    """Return the requests that delete both tables of a site, and have its record say so."""
    removed = replace(record, removed=True)
    tables = [Table(record.site, kind) for kind in KINDS]
    return [RemoveSite(**addressed(table), municipality=removed) for table in tables]


def stored_pages(settings: Settings, site: str) -> int | None:
    """Return how many pages of a site the database holds, None when it cannot be asked."""
    from runtime.database.connections import connect_at_start  # noqa: PLC0415 - psycopg is slow to import
    from runtime.database.fates import door  # noqa: PLC0415 - likewise

    try:
        with connect_at_start(settings, "cli") as connection, door():
            row = connection.execute(_STORED, (site,)).fetchone()
    except PagestreamError:
        return None
    return None if row is None else row[0]
