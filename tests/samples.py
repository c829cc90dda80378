"""Sample records of the sink's topics, as an honest producer makes them."""

from datetime import UTC, datetime
from typing import Any, Final

from runtime.kafka.records import Outgoing, outgoing, tombstone
from schemas.hashing import HASH_VERSION, row_hash
from schemas.message import Message
from schemas.records import DeadLetter, Municipality, Page, SiteRemoved, WalkBarrier
from schemas.tables import Kind, Table, partition_of
from schemas.topics import MUNICIPALITIES, PAGES, WALKS, Topic
from schemas.walks import WalkState

SITE: Final = "alameda.ca"


def page(id: str = "a", site: str = SITE, kind: Kind = "minutes", **fields: Any) -> Page:  # noqa: A002 - the column's name
    """Return a page with the right hash; `fields` overlay what a page usually has."""
    usual = {
        "meeting": "CityCouncil",
        "date": "2024-02-29",
        "page": 1,
        "text": f"Roll call\tof {id}\nMayor's \\ agenda é 🗳",
        "page_image": f"/{id}.png",
        "hash_version": HASH_VERSION,
        "walk": 1,
        "step": 0,
    }
    values = usual | fields
    content = (
        id,
        values["meeting"],
        values["date"],
        str(values["page"]),
        values["text"],
        values["page_image"],
        values.get("entities"),
        values.get("votes"),
    )
    try:
        hashed = row_hash(content)
    except UnicodeEncodeError:
        hashed = 0  # no honest producer could have hashed it
    return Page(site=site, kind=kind, id=id, **({"row_hash": hashed} | values))


def gone(id: str, site: str = SITE, kind: Kind = "minutes", walk: int | None = None) -> Outgoing:  # noqa: A002 - the column's name
    """Return the tombstone of a page."""
    table = Table(site, kind)
    made = tombstone(PAGES, table.record_key(id), table.partition)
    if walk is not None:
        made.headers["walk"] = str(walk).encode()
    return made


def source_row(page: Page) -> dict[str, object]:
    """Return a page as its site has it."""
    return {
        "id": page.id,
        "meeting": page.meeting,
        "date": page.date,
        "page": page.page,
        "text": page.text,
        "page_image": page.page_image,
        "entities_json": page.entities,
        "votes_json": page.votes,
    }


def dead_letter(identity: str = "digest", **fields: Any) -> DeadLetter:
    """Return what the walker says of a row whose id is no id; `fields` overlay it."""
    usual = {
        "site": SITE,
        "kind": "minutes",
        "reason": "bad_id",
        "message": "the id is a number",
        "original": b'{"id": 7}',
        "original_length": 9,
        "original_digest": identity,
        "found_by": "walker",
        "at": now(),
    }
    return DeadLetter(identity=identity, **(usual | fields))


def sent(message: Message) -> Outgoing:
    """Return the record that an honest producer makes of a message."""
    if isinstance(message, Municipality):
        return outgoing(MUNICIPALITIES, message.site, partition_of(message.site), message)
    if not isinstance(message, Page | WalkBarrier | SiteRemoved | WalkState):
        raise TypeError(type(message))
    table = Table(message.site, message.kind)
    topic: Topic = WALKS if isinstance(message, WalkState) else PAGES
    key = table.key
    if isinstance(message, Page):
        key = table.record_key(message.id)
    elif isinstance(message, WalkBarrier):
        key = table.barrier_key
    elif isinstance(message, SiteRemoved):
        key = table.removal_key
    return outgoing(topic, key, table.partition, message)


def now() -> datetime:
    """Return the time, as messages have it."""
    return datetime.now(UTC)
