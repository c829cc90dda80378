"""The consumers: one row a topic, with the group that reads it and what becomes of its records.

All rows are of one group, read by one client. Every topic has the same number of partitions and the
group assigns by range, so whoever owns partition 7 of one topic owns partition 7 of all: a table's
pages, its walk's state and its dead letters are applied by one sink, often in one transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec
import psycopg

from consumers.batches import Item
from consumers.dead_letters import DeadLetterPolicy
from consumers.projections import dead_letters, municipalities, pages, walks
from runtime.kafka.records import Record
from runtime.settings import Settings
from schemas.topics import DEAD_LETTERS, MUNICIPALITIES, PAGES, WALKS, Topic

SINK: Final = "sink"
"""The short name of the sink's group."""

Read = Callable[[Record], object]
"""What a record says. Raises RecordError for one at fault, Stop for a newer version's."""

Apply = Callable[
    [psycopg.Connection, Sequence[Item], Mapping[tuple[str, int], int]], dict[str, int]
]
"""Apply a topic's records, in order, inside the batch's transaction; return pages by change.

The mapping says from which offset of each partition records count in figures.
"""


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """One topic's consumer: the group, the projection's two halves, and the dead-letter policy."""

    topic: Topic
    group: str
    read: Read
    apply: Apply
    policy: DeadLetterPolicy

    def group_name(self, settings: Settings) -> str:
        """Return the group's name on the broker."""
        return f"{settings.topic_prefix}.{self.group}"


_A_FEW: Final = DeadLetterPolicy(most=1000, within=timedelta(minutes=10))
_NEARLY_NONE: Final = DeadLetterPolicy(most=10, within=timedelta(minutes=10))

# In the order in which a transaction applies them.
CONSUMERS: Final = (
    Consumer(
        topic=MUNICIPALITIES,
        group=SINK,
        read=municipalities.read,
        apply=municipalities.apply,
        policy=_NEARLY_NONE,
    ),
    Consumer(topic=PAGES, group=SINK, read=pages.read, apply=pages.apply, policy=_A_FEW),
    Consumer(topic=WALKS, group=SINK, read=walks.read, apply=walks.apply, policy=_NEARLY_NONE),
    Consumer(
        topic=DEAD_LETTERS,
        group=SINK,
        read=dead_letters.read,
        apply=dead_letters.apply,
        policy=_NEARLY_NONE,
    ),
)
