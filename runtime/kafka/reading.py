"""Reading a log outside any group: to a known end, or following it as it grows."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException

from runtime.errors import BrokerUnavailable
from runtime.kafka.client import Names, consumer_config, fate
from runtime.kafka.group import end_of_partition, to_record
from runtime.kafka.records import EARLIEST, EndOfPartition, Partition, Record
from runtime.settings import Settings

_LEADERS_SECONDS: Final = 1.0


class LogReader:
    """Reads committed records of partitions that it names itself; commits nothing."""

    def __init__(self, settings: Settings) -> None:
        self._names = Names(settings)
        self._consumer = Consumer(
            consumer_config(
                settings,
                # The library wants a group's name even where none is joined.
                group_id=f"{settings.topic_prefix}.reader",
                fetch_wait_max_ms=50,
                fetch_queue_backoff_ms=10,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._consumer.close()

    def read(
        self, ends: dict[Partition, int], *, seconds: float, start: int = EARLIEST
    ) -> Iterator[Record]:
        """Yield the records of all partitions, in one pass, up to the given ends (exclusive).

        A committed reader gets to an end only when every transaction below it has ended. Raises
        BrokerUnavailable when that takes longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        left = {partition: end for partition, end in ends.items() if end > 0}
        self.follow(dict.fromkeys(left, start))
        try:
            while left:
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(f"{_show(left)} could not be read within {seconds} s")
                item = self.poll(0.5)
                if isinstance(item, EndOfPartition):
                    # The end reported is that of the committed records: perhaps not yet all.
                    partition = Partition(item.topic, item.partition)
                    if item.offset >= left.get(partition, item.offset + 1):
                        del left[partition]
                elif item is not None:
                    yield item
        finally:
            self._consumer.unassign()

    def follow(self, starts: dict[Partition, int]) -> None:
        """Read these partitions from these offsets on, with `poll`."""
        # Who does not know the leaders yet asks for the earliest offset in vain, and again only
        # after half a second. Without an answer that is how it begins.
        for topic in {partition.topic for partition in starts}:
            with suppress(KafkaException):
                self._consumer.list_topics(self._names.full(topic), timeout=_LEADERS_SECONDS)
        self._consumer.assign(
            [self._names.native(partition, offset) for partition, offset in starts.items()]
        )

    def poll(self, seconds: float) -> Record | EndOfPartition | None:
        """Return the next record of the partitions followed, waiting `seconds` at most."""
        message = self._consumer.poll(seconds)
        if message is None:
            return None
        error = message.error()
        if error is None:
            return to_record(message, self._names)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            return end_of_partition(message, self._names)
        reason = fate(error, "reading")
        if isinstance(reason, BrokerUnavailable):
            return None
        raise reason


def _show(partitions: dict[Partition, int]) -> str:
    topics = sorted({partition.topic for partition in partitions})
    return f"{len(partitions)} partitions of {', '.join(topics)}"
