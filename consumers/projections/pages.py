"""Projects `pages`: the pages and their documents, deletions, barriers and each walk's figures.

Within the batch's transaction, after its positions have moved:

1. Ask for the stored hash of every key of the batch, in one round trip; fold the records over it.
2. Delete the rows of the tables that were removed, and count them.
3. Make the documents that are new; COPY new pages straight into the table; COPY changed ones into
   staging and upsert them; delete what is to go.
4. Delete the documents that lost their last page by it.
5. Note barriers and figures.

What is stored already is dropped in step 1: applying the topic again writes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

import msgspec
import psycopg

from consumers.batches import Item
from consumers.identities import document_id
from consumers.projections.copying import PAGE_COLUMNS, page_line
from consumers.projections.folding import UNKNOWN_WALK, Changes, Fold, Removal, Tombstone
from consumers.projections.meeting_dates import meeting_date
from consumers.queries import load
from consumers.reading import Address, address, check_key, check_partition, read_message
from runtime.errors import RecordError
from runtime.kafka.records import Record
from schemas.codec import TOMBSTONE, WALK_HEADER
from schemas.records import Page, SiteRemoved, WalkBarrier
from schemas.tables import Table

_QUERIES: Final = load(__file__)
_LARGEST: Final = 2**63 - 1
_DIGITS: Final = len(str(_LARGEST))

# Bytes. Each write waits for the interpreter, which the loop's thread is using at the same time.
_COPIED_AT_ONCE: Final = 1_000_000


def read(record: Record) -> Page | Tombstone | WalkBarrier | SiteRemoved:
    """Return what the record says; RecordError where it says nothing, or not in its place."""
    if record.value is None and record.type_header == TOMBSTONE:
        return _read_tombstone(record)
    message = read_message(record)
    if isinstance(message, Page):
        place = address(message.site, message.kind)
        check_key(record, place.key_prefix + message.id)
        if not message.id:
            raise RecordError("bad_id", "the id is empty")
        _check_range(message.walk, message.step)
    elif isinstance(message, WalkBarrier):
        place = address(message.site, message.kind)
        check_key(record, place.table.barrier_key)
    elif isinstance(message, SiteRemoved):
        place = address(message.site, message.kind)
        check_key(record, place.table.removal_key)
        _check_range(message.walk)
    else:
        raise RecordError("undecodable", f"{type(message).__name__} does not belong in this topic")
    check_partition(record, place.partition)
    return message


def _check_range(*numbers: int) -> None:
    if not all(0 <= number <= _LARGEST for number in numbers):
        raise RecordError("undecodable", "walk or step out of range")


def _read_tombstone(record: Record) -> Tombstone:
    try:
        table, page_id = Table.parse_record_key(record.key or "")
    except ValueError as error:
        raise RecordError("undecodable", str(error)) from error
    check_partition(record, address(*table).partition)
    walk = record.headers.get(WALK_HEADER, b"")
    known = walk.isdigit() and len(walk) <= _DIGITS and int(walk) <= _LARGEST
    return Tombstone(table, page_id, int(walk) if known else UNKNOWN_WALK)


def apply(
    connection: psycopg.Connection,
    items: Sequence[Item],
    counted_from: Mapping[tuple[str, int], int],
) -> dict[str, int]:
    """Apply the records; return how many pages and documents were written, by what changed."""
    changes = Fold(_stored_hashes(connection, items), counted_from).apply(items)
    removed = sum([_remove(connection, removal, changes) for removal in changes.removals])
    _add_documents(connection, [*changes.created, *changes.changed])
    _copy(connection, "meeting_page", changes.created)
    left = _upsert(connection, changes.changed) | _delete(connection, changes.deleted)
    if left:
        connection.execute(_QUERIES["delete_empty_documents"], {"ids": sorted(left)})
    _note(connection, changes)
    return {
        "created": len(changes.created),
        "updated": len(changes.changed),
        "deleted": len(changes.deleted) + removed,
    }


def prepare(connection: psycopg.Connection) -> None:
    """Make the staging table of a new connection."""
    connection.execute(_QUERIES["create_staging"])


def _stored_hashes(connection: psycopg.Connection, items: Sequence[Item]) -> dict[str, int | None]:
    """Return the hash of each page of the batch that is stored, by its record's key."""
    wanted: dict[Address, list[str]] = defaultdict(list)
    for item in items:
        content = item.content
        if isinstance(content, Page):
            wanted[address(content.site, content.kind)].append(content.id)
        elif isinstance(content, Tombstone):
            wanted[address(*content.table)].append(content.id)
    if not wanted:
        return {}
    lasts = list(accumulate(len(ids) for ids in wanted.values()))
    rows = connection.execute(
        _QUERIES["stored_hashes"],
        {
            "municipalities": [table.municipality for table in wanted],
            "kinds": [table.table.kind for table in wanted],
            "firsts": [1, *(last + 1 for last in lasts[:-1])],
            "lasts": lasts,
            "ids": [page_id for ids in wanted.values() for page_id in ids],
        },
    ).fetchall()
    prefixes = [table.key_prefix for table in wanted]
    return {prefixes[place - 1] + page_id: row_hash for place, page_id, row_hash in rows}


def _remove(connection: psycopg.Connection, removal: Removal, changes: Changes) -> int:
    """Delete a removed table's rows, one statement each; return how many pages there were."""
    table = removal.table
    table_of = {"municipality": address(*table).municipality, "kind": table.kind}
    pages = connection.execute(_QUERIES["delete_table_pages"], table_of).rowcount
    connection.execute(_QUERIES["delete_table_documents"], table_of)
    changes.remove(removal, pages)
    return pages


def _document(page: Page) -> int:
    return document_id(page.site, page.kind, page.meeting, page.date)


def _add_documents(connection: psycopg.Connection, pages: Iterable[Page]) -> None:
    """Make the documents of pages that are not there; most of a batch's are, after the first."""
    one_of = {_document(page): page for page in pages}
    if not one_of:
        return
    known = connection.execute(_QUERIES["known_documents"], {"ids": list(one_of)})
    for (document,) in known:
        del one_of[document]
    if not one_of:
        return
    connection.execute(
        _QUERIES["add_documents"],
        {
            "ids": list(one_of),
            "municipalities": [
                address(page.site, page.kind).municipality for page in one_of.values()
            ],
            "kinds": [page.kind for page in one_of.values()],
            "meetings": [page.meeting for page in one_of.values()],
            "texts": [page.date for page in one_of.values()],
            "dates": [meeting_date(page.date) for page in one_of.values()],
        },
    )


def _copy(connection: psycopg.Connection, table: str, pages: Sequence[Page]) -> None:
    if not pages:
        return
    statement = f"COPY {table} ({PAGE_COLUMNS}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        lines, size = [], 0
        for page in pages:
            line = page_line(page, address(page.site, page.kind).municipality, _document(page))
            lines.append(line)
            size += len(line)
            if size >= _COPIED_AT_ONCE:
                copy.write(b"".join(lines))
                lines, size = [], 0
        copy.write(b"".join(lines))


def _upsert(connection: psycopg.Connection, pages: Sequence[Page]) -> set[int]:
    """Write changed pages; return the documents that pages moved away from."""
    if not pages:
        return set()
    _copy(connection, "changed_page", pages)
    left = {document for (document,) in connection.execute(_QUERIES["documents_left"])}
    connection.execute(_QUERIES["upsert"])
    return left


def _delete(connection: psycopg.Connection, tombstones: Sequence[Tombstone]) -> set[int]:
    """Delete pages; return their documents."""
    if not tombstones:
        return set()
    given = {
        "municipalities": [address(*gone.table).municipality for gone in tombstones],
        "kinds": [gone.table.kind for gone in tombstones],
        "ids": [gone.id for gone in tombstones],
    }
    return {document for (document,) in connection.execute(_QUERIES["delete_pages"], given)}


def _note(connection: psycopg.Connection, changes: Changes) -> None:
    for _, barrier in sorted(changes.barriers.items()):
        connection.execute(_QUERIES["pass_barrier"], msgspec.structs.asdict(barrier))
    for (site, kind, walk), figures in sorted(changes.figures.items()):
        connection.execute(
            _QUERIES["add_figures"],
            {"site": site, "kind": kind, "walk": walk, **msgspec.structs.asdict(figures)},
        )
