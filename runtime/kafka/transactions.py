"""Exactly-once publishing: records and the input offset behind them in one Kafka transaction.

A transaction is open for milliseconds. Whatever goes wrong inside it, nothing is repaired in place:
a new producer with the same transactional id ends it, either way, and the committed offset alone
says which way.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from runtime.crashpoints import crash_point
from runtime.errors import BrokerUnavailable, InternalError, OwnedElsewhere, PagestreamError, Stop
from runtime.kafka.client import Names, client_config, describe, fate
from runtime.kafka.group import GroupMetadata
from runtime.kafka.patience import within
from runtime.kafka.records import Outgoing, Partition
from runtime.logs import logger
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.topics import MAX_MESSAGE_BYTES, WALKS

_SLICE: Final = 3.0
_LIMIT: Final = 45.0
_SEND_OFFSETS_LIMIT: Final = 5.0
_FENCED_WITHIN: Final = 60.0


_REFUSALS: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_MSG,
        KafkaError.POLICY_VIOLATION,
    }
)
"""What is wrong with the records themselves, whoever sends them and whenever."""


class TransactionFailed(BrokerUnavailable):
    """Nobody can say whether the transaction committed but the committed offset: recover."""


class TransactionRefused(TransactionFailed):
    """The broker refuses what the transaction holds: trying it again would bring the same."""


class TransactionalProducer:
    """Publishes in transactions under one stable transactional id, the name of its slot.

    `beat` is called while a call waits for the broker: waiting for it is not standing still.
    """

    def __init__(
        self,
        settings: Settings,
        transactional_id: str,
        metrics: Metrics,
        beat: Callable[[], None],
    ) -> None:
        self._beat = beat
        self.transactional_id: Final = transactional_id
        self._names = Names(settings)
        self._metrics = metrics
        self._config = _config(settings, transactional_id)
        self._fenced_at: float | None = None
        self._producer = self._open()

    def _open(self) -> Producer:
        return _opened(self._config, self._beat)

    def recover(self) -> None:
        """End whatever transaction was open, one way or the other, and begin anew."""
        self._metrics.add("pagestream_recoveries")
        self._producer = self._open()

    def commit_step(
        self,
        records: Iterable[Outgoing],
        source: Partition,
        next_offset: int,
        metadata: str,
        membership: GroupMetadata,
    ) -> None:
        """Publish records and move the group's position in `source`, both or neither.

        1. begin; 2. produce everything; 3. send the offset, once, under the generation's
        metadata: this is what fences a member that lost the partition; 4. commit.

        Raises TransactionFailed: the caller must `recover` and read its position again.
        OwnedElsewhere: fenced twice within a minute, somebody else lives in this slot. Any other
        Stop: the broker refuses this for good.
        """
        if next_offset < 0:
            raise InternalError(f"the next offset of {source} would be {next_offset}")
        position = self._names.native(source, next_offset, metadata)
        began = time.monotonic()
        try:
            self._producer.begin_transaction()
            self._produce(records)
            crash_point("walker.produced")
            self._send_offset(position, membership)
            crash_point("walker.offset_sent")
            _in_slices(self._producer.commit_transaction, self._beat)
            crash_point("walker.committed")
        except (KafkaException, BufferError) as error:
            raise self._failed(error) from error
        self._metrics.observe("pagestream_transaction_seconds", time.monotonic() - began)

    def _send_offset(self, position: TopicPartition, membership: GroupMetadata) -> None:
        """Send the offset; where a record was refused meanwhile, call again: that says why."""
        try:
            self._try_to_send_offset(position, membership)
        except KafkaException as error:
            if not _had_failed_before(error):
                raise
            self._try_to_send_offset(position, membership)

    def _try_to_send_offset(self, position: TopicPartition, membership: GroupMetadata) -> None:
        """Send the offset; across a broker's restart this call has hung for minutes.

        A call left behind hangs in a producer that the next one of the same id has fenced.
        """
        producer = self._producer
        try:
            within(
                _SEND_OFFSETS_LIMIT,
                "sending the offset",
                lambda: producer.send_offsets_to_transaction(
                    [position], membership, _SEND_OFFSETS_LIMIT
                ),
            )
        except BrokerUnavailable as error:
            raise TransactionFailed(str(error)) from None

    def publish(self, records: list[Outgoing]) -> None:
        """Publish records that move no position: commands only, never a state.

        A state written without an input offset would not be fenced: its writer might have lost
        the partition long ago.
        """
        if any(record.topic == WALKS.name for record in records):
            raise InternalError("a walk's state was about to be written without its input offset")
        try:
            self._producer.begin_transaction()
            self._produce(records)
            _in_slices(self._producer.commit_transaction, self._beat)
        except (KafkaException, BufferError) as error:
            raise self._failed(error) from error

    def _produce(self, records: Iterable[Outgoing]) -> None:
        crash_point("walker.begun")
        produce, full = self._producer.produce, self._names.full
        for record in records:
            headers = dict[str, str | bytes | None](record.headers)
            produce(full(record.topic), record.value, record.key, record.partition, headers=headers)

    def _failed(self, error: KafkaException | BufferError) -> PagestreamError:
        reason = fate(error, "committing a step")
        if isinstance(reason, OwnedElsewhere):
            now = time.monotonic()
            if self._fenced_at is not None and now - self._fenced_at < _FENCED_WITHIN:
                return reason
            self._fenced_at = now
        elif isinstance(reason, Stop):
            return reason
        logger("kafka").warning("transaction_failed", error=describe(error))
        return (
            TransactionRefused(str(reason))
            if _is_refusal(error)
            else TransactionFailed(str(reason))
        )


def _is_refusal(error: KafkaException | BufferError) -> bool:
    inner = _cause(error)
    return inner is not None and inner.code() in _REFUSALS


def _had_failed_before(error: KafkaException) -> bool:
    """Tell whether a record was refused while a call waited: the call then says its state is wrong.

    Any other wrong state is a mistake of ours, and needs no transaction to be ended.
    """
    inner = _cause(error)
    wrong_state = KafkaError._STATE  # noqa: SLF001 - the library's public name for it
    return inner is not None and inner.code() == wrong_state and inner.txn_requires_abort()


def _cause(error: KafkaException | BufferError) -> KafkaError | None:
    inner = error.args[0] if error.args else None
    return inner if isinstance(inner, KafkaError) else None


def end_transactions(settings: Settings, transactional_id: str, beat: Callable[[], None]) -> None:
    """End what a producer that is gone has left open, one way or the other, as its return would.

    Should it live all the same, its next call fails as fenced, and it recovers.
    """
    _opened(_config(settings, transactional_id), beat)


def _config(settings: Settings, transactional_id: str) -> dict[str, Any]:
    return client_config(
        settings,
        transactional_id=transactional_id,
        # Bounds how long a dead producer's open transaction holds readers back.
        transaction_timeout_ms=30000,
        message_timeout_ms=25000,
        message_max_bytes=MAX_MESSAGE_BYTES,
        compression_type="zstd",
        # A quarter less CPU for each step than with the default; the log grows by a tenth.
        compression_level=1,
        linger_ms=5,
        # With the default of 100 ms back-to-back transactions take six times as long.
        retry_backoff_ms=10,
        queue_buffering_max_messages=0,
    )


def _opened(config: dict[str, Any], beat: Callable[[], None]) -> Producer:
    producer = Producer(config)
    try:
        _in_slices(producer.init_transactions, beat)
    except KafkaException as error:
        doing = f"opening the transactions of {config['transactional.id']}"
        raise fate(error, doing) from error
    return producer


def _in_slices(call: Callable[[float], object], beat: Callable[[], None]) -> None:
    """Make a transactional call in slices of 3 s: without a time-out it would block for ever."""
    deadline = time.monotonic() + _LIMIT
    while True:
        beat()
        try:
            call(_SLICE)
        except KafkaException as error:
            inner = error.args[0]
            retriable = isinstance(inner, KafkaError) and inner.retriable()
            if not retriable or time.monotonic() > deadline:
                raise
        else:
            return
