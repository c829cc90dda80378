"""The records of `pages`, `municipalities` and `dead-letters`: what the copy is made of."""

from datetime import datetime
from typing import Literal

import msgspec

from schemas.message import Message
from schemas.tables import Kind

DeadLetterReason = Literal[
    "bad_id",
    "bad_page_number",
    "wrong_type",
    "too_large",
    "undecodable",
    "wrong_partition",
    "unstorable",
]
"""Why a record cannot be stored as it is, as a class that an operator can group by."""


class Page(Message, frozen=True, kw_only=True, gc=False):
    """One row of a site's table: one page of a meeting document.

    `date`, `entities` and `votes` are the source's text, kept as read. `row_hash` is over exactly
    these fields (see `schemas.hashing`). `sanitised` names the fields whose characters PostgreSQL
    could not have stored as read.
    """

    site: str
    kind: Kind
    id: str
    meeting: str | None = None
    date: str | None = None
    page: int
    text: str | None = None
    page_image: str | None = None
    entities: str | None = None
    votes: str | None = None
    row_hash: int
    hash_version: int
    sanitised: tuple[str, ...] = ()
    walk: int
    step: int


class WalkBarrier(Message, frozen=True, kw_only=True):
    """Everything of this walk, or of this repair, lies before this record of the table.

    `number` rises by one with each barrier of the table.
    """

    site: str
    kind: Kind
    number: int
    walk: int
    at: datetime


class SiteRemoved(Message, frozen=True, kw_only=True):
    """The table was removed by an operator: its rows go.

    `walk` is the newest walk that the table had, 0 where it had none.
    """

    site: str
    kind: Kind
    walk: int = 0
    at: datetime


class Municipality(Message, frozen=True, kw_only=True):
    """What is known of a site, as its operator or its own announcements gave it.

    `pages` is the site's own word for how many pages it has, not a count of ours.
    `last_updated` is kept as sent.
    """

    site: str
    name: str | None = None
    state: str | None = None
    country: str | None = None
    municipality_kind: str | None = None
    pages: int | None = None
    last_updated: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    popup_data: str | None = None
    removed: bool = False


class DeadLetter(Message, frozen=True, kw_only=True):
    """A record that cannot be stored, with the reason and the bytes as they came.

    `identity` is the page's id, or the digest of the content where there is no usable id, so that
    walking over the same row again does not make a second one. `original` is cut at 1 MB;
    `original_length` (bytes) and `original_digest` (SHA-256, hex) are of the whole.
    """

    site: str | None = None
    kind: Kind | None = None
    identity: str
    page_id: str | None = None
    reason: DeadLetterReason
    message: str
    sqlstate: str | None = None
    original: bytes
    original_length: int
    original_digest: str
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    walk: int | None = None
    step: int | None = None
    found_by: Literal["walker", "sink"]
    at: datetime
