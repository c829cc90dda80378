"""How many records lie between two positions: only what a reader can see is counted.

Offsets alone cannot tell: each transaction ends with a marker that takes an offset of its own, what
an aborted one wrote is skipped, and compaction leaves gaps. So short stretches are read, and of a
long one only the most that it can hold is given.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pagestream.walks import partitions_of
from runtime.errors import Unavailable
from runtime.kafka.cluster import Cluster
from runtime.kafka.reading import LogReader
from runtime.kafka.records import EndOfPartition, Partition, Record
from runtime.settings import Settings
from schemas.topics import Topic

SHORT: Final = 20_000
"""The most offsets that are read to count their records; more are only bounded."""

_SILENCE_SECONDS: Final = 10.0


class Count(NamedTuple):
    """A number of records; when it is not exact, there are at most so many."""

    records: int
    exact: bool

    def shown(self) -> str:
        """Return it for a person: `1,204`, or `≤ 48,000`."""
        return f"{self.records:,}" if self.exact else f"≤ {self.records:,}"


class Stretch(NamedTuple):
    """The offsets of a partition from `start` up to `end`, which is not part of it."""

    start: int
    end: int

    @property
    def offsets(self) -> int:
        """How many offsets it spans: the most records that it can hold."""
        return max(0, self.end - self.start)


def records_in_topics(
    settings: Settings, cluster: Cluster, topics: Sequence[Topic], *, everything: bool
) -> dict[str, Count]:
    """Return the number of records of each topic, by short name; exact if short or `everything`."""
    partitions = [partition for topic in topics for partition in partitions_of(topic)]
    starts, ends = cluster.starts(partitions), cluster.ends(partitions)
    counted = {}
    for topic in topics:
        stretches = {p: Stretch(starts[p], ends[p]) for p in partitions if p.topic == topic.name}
        counts = records_in_each(settings, stretches, None if everything else SHORT)
        counted[topic.name] = total(counts)
    return counted


def total(counts: Mapping[Partition, Count]) -> Count:
    """Return the sum of counts: exact if every one of them is."""
    records = sum(count.records for count in counts.values())
    return Count(records, all(count.exact for count in counts.values()))


def records_in_each(
    settings: Settings, stretches: Mapping[Partition, Stretch], limit: int | None = SHORT
) -> dict[Partition, Count]:
    """Return how many records lie in each stretch.

    At most `limit` offsets are read in all, the shortest stretches first; of what is left, each is
    given as the most that it can hold. So a reader that is caught up is always seen to be.
    """
    counts, readable, room = {}, {}, limit
    for partition, stretch in sorted(stretches.items(), key=lambda item: item[1].offsets):
        if room is not None and stretch.offsets > room:
            counts[partition] = Count(stretch.offsets, exact=False)
            continue
        room = None if room is None else room - stretch.offsets
        readable[partition] = stretch
    found = visible_records(settings, readable)
    return counts | {partition: Count(records, exact=True) for partition, records in found.items()}


def visible_records(
    settings: Settings, stretches: Mapping[Partition, Stretch]
) -> dict[Partition, int]:
    """Return how many records of each stretch a reader can see; Unavailable when none comes."""
    found = dict.fromkeys(stretches, 0)
    left = {partition: stretch.end for partition, stretch in stretches.items() if stretch.offsets}
    if not left:
        return found
    heard = time.monotonic()
    with LogReader(settings) as reader:
        reader.follow({partition: stretches[partition].start for partition in left})
        while left:
            item = reader.poll(_SILENCE_SECONDS / 10)
            if item is None:
                if time.monotonic() - heard > _SILENCE_SECONDS:
                    raise _silent(settings)
                continue
            heard = time.monotonic()
            partition = Partition(item.topic, item.partition)
            end = left.get(partition, 0)
            if isinstance(item, Record) and item.offset < end:
                found[partition] += 1
            # The last offsets may be markers, which only the end of the partition tells.
            last_seen = item.offset if isinstance(item, EndOfPartition) else item.offset + 1
            if last_seen >= end:
                left.pop(partition, None)
    return found


def _silent(settings: Settings) -> Unavailable:
    return Unavailable(
        f"Kafka at {settings.kafka} sent nothing for {_SILENCE_SECONDS:.0f} s",
        remedy="look whether it runs, and try again",
    )
