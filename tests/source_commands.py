"""Commands for the source as tests give them, and the door that takes them to a server."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from fix_scripted_source import Answer, Asked, ScriptedSource, answer
from fix_source import SourceSite

from producer.datasette import DatasetteSource
from producer.responses import ListingResponse, PagesResponse, RepairResponse
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.commands import PrunePages, RefetchPages, TakeStep
from schemas.tables import Kind
from schemas.walks import ListedBy, Phase, Position, Window

SITE = "alameda.ca"


@contextmanager
def door(server: SourceSite | ScriptedSource, **more: Any) -> Iterator[DatasetteSource]:
    """Yield a source all of whose sites this server serves; `more` are settings."""
    settings = Settings(
        _env_file=None,
        source_url="http://{subdomain}.localhost",
        source_connect=server.address,
        **more,
    )
    with closing(DatasetteSource(settings, Metrics(), threading.Event())) as source:
        yield source


def step(
    phase: Phase = "pages",
    kind: Kind = "minutes",
    *,
    rows: int = 1000,
    cursor: str | None = None,
    after: str | None = None,
    listed_by: ListedBy | None = None,
    window: Window | None = None,
    walk: int = 1,
) -> TakeStep:
    position = Position(phase=phase, cursor=cursor, after=after, listed_by=listed_by)
    return TakeStep(
        site=SITE, kind=kind, walk=walk, step=0, position=position, rows=rows, window=window
    )


def refetch(*ids: str, control_id: str | None, kind: Kind = "minutes") -> RefetchPages:
    return RefetchPages(**_repair(ids, control_id, kind))


def prune(*ids: str, control_id: str | None, kind: Kind = "minutes") -> PrunePages:
    return PrunePages(**_repair(ids, control_id, kind))


def _repair(ids: tuple[str, ...], control_id: str | None, kind: Kind) -> dict[str, Any]:
    return {
        "site": SITE,
        "kind": kind,
        "command_id": "c1",
        "sent_by": "test",
        "sent_at": datetime(2026, 11, 22, tzinfo=UTC),
        "walk": 7,
        "round": 1,
        "ids": ids,
        "control_id": control_id,
    }


def repaired(source: DatasetteSource, command: RefetchPages | PrunePages) -> RepairResponse:
    response = source.fetch(command)
    assert isinstance(response, RepairResponse)
    return response


def pages(source: DatasetteSource, first: TakeStep) -> list[PagesResponse]:
    """Return every response of a walk over pages that begins with this step."""
    responses: list[PagesResponse] = []
    asked: TakeStep | None = first
    while asked is not None:
        response = source.fetch(asked)
        assert isinstance(response, PagesResponse)
        responses.append(response)
        asked = (
            step(
                kind=first.kind,
                rows=first.rows,
                cursor=response.next,
                after=response.last_id,
                window=first.window,
            )
            if response.next is not None
            else None
        )
    return responses


def next_listing(first: TakeStep, response: ListingResponse) -> TakeStep:
    """Return the step that follows a slice of a listing, as the walker takes it."""
    return step(
        "listing",
        first.kind,
        rows=first.rows,
        cursor=response.next,
        after=response.ids[-1] if response.ids else response.after,
        listed_by=response.listed_by,
        window=first.window,
        walk=first.walk,
    )


def list_slice(source: DatasetteSource, asked: TakeStep) -> ListingResponse:
    response = source.fetch(asked)
    assert isinstance(response, ListingResponse)
    return response


def listing(source: DatasetteSource, first: TakeStep) -> list[ListingResponse]:
    """Return every slice of a listing that begins with this step."""
    slices = [list_slice(source, first)]
    while not slices[-1].last:
        slices.append(list_slice(source, next_listing(first, slices[-1])))
    return slices


def ids_of(slices: list[ListingResponse]) -> list[str]:
    return [page_id for one in slices for page_id in one.ids]


def is_sql(asked: Asked) -> bool:
    return "sql" in asked.query


def passed_on(site: SourceSite, asked: Asked) -> Answer:
    """Answer as the site behind would."""
    status, body = site.ask(asked.target)
    return answer(body, status=status)
