"""What is kept of a run that went wrong: its log, one line a record, without the pages' texts."""

from typing import Final

from msgspec.structs import replace

from schemas.codec import decode
from schemas.records import Page
from schemas.topics import COMMANDS, LEDGER, PAGES, WALKS
from soak.road import Road

_TOPICS: Final = (COMMANDS, LEDGER, WALKS, PAGES)


def keep_log(road: Road) -> None:
    """Write the committed records of each topic to a file in the run's folder."""
    for topic in _TOPICS:
        with (road.folder / f"{topic.name}.txt").open("w") as file:
            for record in road.rig.records(topic):
                message = None
                if record.value is not None:
                    message = decode(record.type_header, record.value)
                if isinstance(message, Page):
                    message = replace(message, text=None)
                place = f"{record.partition}/{record.offset} {record.key} {dict(record.headers)}"
                file.write(f"{place} {message}\n")
