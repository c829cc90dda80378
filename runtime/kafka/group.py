"""A member of a consumer group: reads committed records of the partitions that it owns."""

from typing import Any, Final, NewType, Protocol, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from stamina import retry_context

from runtime.errors import BrokerUnavailable, InternalError
from runtime.kafka.client import Names, consumer_config, describe, fate
from runtime.kafka.patience import within
from runtime.kafka.records import Committed, EndOfPartition, Partition, Record
from runtime.logs import logger
from runtime.settings import Settings

GroupMetadata = NewType("GroupMetadata", object)
"""Proof of membership in one generation of a group; what fences a transaction of an older one."""

_GENERATION: Final = slice(7, 11)
_MAX_OFFSET: Final = 1 << 63


class Ownership(Protocol):
    """What a role does when partitions come and go. Called from inside `poll` and `consume`."""

    def assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        """Take over partitions; return the offset at which each is to be read (or EARLIEST)."""
        ...

    def revoked(self, partitions: list[Partition]) -> None:
        """Forget everything about partitions: they belong to somebody else now."""
        ...


class GroupConsumer:
    """A consumer with a static membership: a restart of the same member takes over at once.

    1. On assignment the generation's metadata is taken and kept: taken later it could be that of
       no generation, which fences nothing.
    2. `ownership` says where each partition starts; then they are assigned, and resumed, because
       the library keeps a partition paused across rebalances.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        group: str,
        member: str,
        topics: tuple[str, ...],
        ownership: Ownership,
        tuning: dict[str, Any] | None = None,
    ) -> None:
        self.group: Final = group
        self._names = Names(settings)
        self._ownership = ownership
        self._metadata: GroupMetadata | None = None
        self._is_member = False
        self._log = logger("kafka")
        config = consumer_config(
            settings,
            group_id=group,
            group_instance_id=member,
            auto_offset_reset="earliest",
            # The newer protocol took 45 s to take over where this one takes a session's time.
            group_protocol="classic",
            partition_assignment_strategy="range",
            session_timeout_ms=6000,
            heartbeat_interval_ms=2000,
            max_poll_interval_ms=90000,
            fetch_wait_max_ms=100,
            # The default of a second is how long a fast reader would sleep on a full queue.
            fetch_queue_backoff_ms=10,
        )
        self._consumer = Consumer(config | (tuning or {}))
        self._consumer.subscribe(
            [self._names.full(topic) for topic in topics],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    @property
    def metadata(self) -> GroupMetadata:
        """The proof of membership, as of the newest assignment."""
        if self._metadata is None:
            raise InternalError("a transaction was tried before any partition was assigned")
        return self._metadata

    def _on_assign(self, consumer: Consumer, natives: list[TopicPartition]) -> None:
        metadata = consumer.consumer_group_metadata()
        if int.from_bytes(metadata[_GENERATION], "little", signed=True) < 0:
            raise InternalError("assigned partitions outside any generation of the group")
        self._metadata = metadata
        starts = self._ownership.assigned([self._names.partition(native) for native in natives])
        placed = [self._names.native(partition, offset) for partition, offset in starts.items()]
        consumer.assign(placed)
        consumer.resume(placed)
        self._is_member = True
        self._log.info("partitions_assigned", count=len(placed))

    def _on_revoke(self, _consumer: Consumer, natives: list[TopicPartition]) -> None:
        self._ownership.revoked([self._names.partition(native) for native in natives])
        self._is_member = False
        self._log.info("partitions_revoked", count=len(natives))

    def _on_lost(self, consumer: Consumer, natives: list[TopicPartition]) -> None:
        self._is_member = False
        self._on_revoke(consumer, natives)

    def poll(self, seconds: float) -> Record | EndOfPartition | None:
        """Return the next record, waiting `seconds` at most; runs the rebalances."""
        message = self._consumer.poll(seconds)
        return None if message is None else self._read(message)

    def consume(self, count: int, seconds: float) -> list[Record | EndOfPartition]:
        """Return up to `count` records, waiting until all are there or `seconds` are over."""
        read = (self._read(message) for message in self._consumer.consume(count, seconds))
        return [record for record in read if record is not None]

    def _read(self, message: "Message[bytes, bytes]") -> Record | EndOfPartition | None:
        error = message.error()
        if error is None:
            return to_record(message, self._names)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            return end_of_partition(message, self._names)
        reason = fate(error, "reading")
        if not isinstance(reason, BrokerUnavailable):
            raise reason
        self._log.warning("read_interrupted", error=describe(error))
        return None

    def pause(self, partitions: list[Partition]) -> None:
        """Read no further in these partitions until they are resumed."""
        self._consumer.pause(self._names.natives(partitions))

    def resume(self, partitions: list[Partition]) -> None:
        """Read on in these partitions."""
        self._consumer.resume(self._names.natives(partitions))

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on at this offset."""
        try:
            for attempt in retry_context(on=_is_too_early, timeout=5, attempts=None, wait_max=0.2):
                with attempt:
                    self._consumer.seek(self._names.native(partition, offset))
        except KafkaException as error:
            raise fate(error, f"seeking in {partition.topic}") from error

    def assignment(self) -> set[Partition]:
        """Return the partitions owned now."""
        return {self._names.partition(native) for native in self._consumer.assignment()}

    def committed(self, partitions: list[Partition], seconds: float) -> dict[Partition, Committed]:
        """Return the group's positions, after every transaction pending on them has ended."""
        try:
            natives = self._consumer.committed(self._names.natives(partitions), seconds)
        except KafkaException as error:
            raise fate(error, "reading the committed offsets") from error
        found = {}
        for native in natives:
            if native.error is not None:
                raise fate(native.error, "reading the committed offsets")
            offset = native.offset if 0 <= native.offset < _MAX_OFFSET else None
            found[self._names.partition(native)] = Committed(offset, native.metadata or None)
        return found

    def commit(self, positions: dict[Partition, Committed]) -> bool:
        """Commit positions without waiting: a mirror for lag tools, never the truth.

        Returns False, and commits nothing, between the loss of the partitions and the end of
        `Ownership.assigned`. The group may have had no member for a while, and an operator may have
        reset its offsets: the library, which joins again in the background, would overwrite them
        before they are looked at. What an old membership commits is refused by the broker.
        """
        if not self._is_member:
            return False
        offsets = [
            self._names.native(partition, position.offset, position.metadata or "")
            for partition, position in positions.items()
            if position.offset is not None
        ]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._log.warning("mirror_not_committed", error=describe(error))
        return True

    def commit_now(self, partition: Partition, position: Committed, seconds: float) -> None:
        """Commit one position, and wait until the broker has it.

        Raises BrokerUnavailable where it did not take it: it is away, or a rebalance is under way.
        After `seconds` the call is left behind, and may yet move the group back to this position.
        """
        doing = "committing an offset"
        offset = self._names.native(partition, position.offset or 0, position.metadata or "")
        try:
            within(
                seconds, doing, lambda: self._consumer.commit(offsets=[offset], asynchronous=False)
            )
        except KafkaException as error:
            raise fate(error, doing) from error

    def close(self) -> None:
        """Leave: a static member's partitions wait for its restart, or its session's end."""
        self._consumer.close()


def _is_too_early(error: Exception) -> bool:
    # For a moment after its assignment a partition is not being read yet, and cannot seek.
    return isinstance(error, KafkaException) and error.args[0].code() == KafkaError._STATE  # noqa: SLF001


def to_record(message: "Message[bytes, bytes]", names: Names) -> Record:
    """Return the library's message as our record."""
    key = message.key()
    return Record(
        names.short(str(message.topic())),
        int(message.partition() or 0),
        int(message.offset() or 0),
        None if key is None else key.decode(errors="replace"),
        message.value(),
        _headers(message),
        message.timestamp()[1],
    )


def _headers(message: "Message[bytes, bytes]") -> dict[str, bytes]:
    # The library reads headers as a list of pairs; its type also allows what may be written.
    pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return {name: value or b"" for name, value in pairs}


def end_of_partition(message: "Message[bytes, bytes]", names: Names) -> EndOfPartition:
    """Return the library's end-of-partition message as ours."""
    return EndOfPartition(
        names.short(str(message.topic())),
        int(message.partition() or 0),
        int(message.offset() or 0),
    )
