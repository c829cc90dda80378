"""Projects `municipalities`: what is known of each site, over the placeholder its pages made."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import psycopg

from consumers.batches import Item
from consumers.identities import municipality_id
from consumers.queries import load
from consumers.reading import check_key, check_partition, read_message
from runtime.errors import RecordError
from runtime.kafka.records import Record
from schemas.records import Municipality
from schemas.tables import is_site, partition_of

_QUERIES: Final = load(__file__)


def read(record: Record) -> Municipality:
    """Return the record's municipality; RecordError where it is none, or not in its place."""
    message = read_message(record)
    if not isinstance(message, Municipality) or not is_site(message.site):
        raise RecordError("undecodable", "not a municipality of a site")
    check_key(record, message.site)
    check_partition(record, partition_of(message.site))
    return message


def add(connection: psycopg.Connection, sites: Iterable[str]) -> None:
    """Make sure that each site has a row, if only a placeholder."""
    ids = {municipality_id(site): site for site in sites}
    if ids:
        connection.execute(_QUERIES["add"], {"ids": list(ids), "subdomains": list(ids.values())})


def apply(
    connection: psycopg.Connection, items: Sequence[Item], _counted_from: object
) -> dict[str, int]:
    """Write the newest of each site; their rows exist already."""
    newest = {
        item.content.site: item.content for item in items if isinstance(item.content, Municipality)
    }
    for site in sorted(newest):
        fields = msgspec.structs.asdict(newest[site])
        connection.execute(_QUERIES["describe"], {"id": municipality_id(site), **fields})
    return {}
