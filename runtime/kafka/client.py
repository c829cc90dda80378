"""How every client is configured, and what each of the library's errors means here."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeVar

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from stamina import retry_context

from runtime.errors import (
    BrokerUnavailable,
    ConfigurationError,
    InternalError,
    OwnedElsewhere,
    PagestreamError,
    Stop,
)
from runtime.kafka.records import Partition
from runtime.logs import logger
from runtime.settings import Settings
from schemas.topics import MAX_MESSAGE_BYTES

T = TypeVar("T")

_FATAL: Final = KafkaError._FATAL  # noqa: SLF001 - the library's public name for it

_FENCED: Final = (
    KafkaError._FENCED,  # noqa: SLF001 - the library's public name for it
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
)
_REFUSED: Final = (
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - the library's public name for it
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)
_NO_TOPIC: Final = (
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the library's public name for it
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - likewise
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
)
_BUG: Final = (
    KafkaError._INVALID_ARG,  # noqa: SLF001 - the library's public name for it
    KafkaError._STATE,  # noqa: SLF001 - likewise
    KafkaError._INVALID_TYPE,  # noqa: SLF001 - likewise
    KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001 - likewise
)


class _Stops(NamedTuple):
    error: type[Stop]
    remedy: str


_STOPS: Final = {
    **dict.fromkeys(
        _FENCED,
        _Stops(OwnedElsewhere, "two processes share one slot: give each its own, or stop one"),
    ),
    **dict.fromkeys(_REFUSED, _Stops(ConfigurationError, "check the Kafka credentials and ACLs")),
    **dict.fromkeys(_NO_TOPIC, _Stops(ConfigurationError, "run `pagestream topics --create`")),
    **dict.fromkeys(_BUG, _Stops(InternalError, "a mistake in pagestream: please report it")),
    KafkaError._AUTO_OFFSET_RESET: _Stops(  # noqa: SLF001 - its public name
        ConfigurationError, "Kafka has lost records: restore the topic, or fill a new database"
    ),
    _FATAL: _Stops(InternalError, "the client cannot go on: start this process again"),
}
"""The errors after which there is no use in going on. All others pass: the broker is away, busy or
changing leaders."""

_HAS_MEMBERS: Final = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP)
_SAY_AGAIN_AFTER: Final = 30.0
_ONE_TRY_SECONDS: Final = 3.0


def client_config(settings: Settings, **more: Any) -> dict[str, Any]:
    """Return the configuration that all clients share, overlaid by `more` (`_` stands for `.`)."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka,
        # The default of 10 s is how long a restarted broker would go unnoticed.
        "reconnect.backoff.max.ms": 2000,
        "log_level": 2,
        "logger": logging.getLogger("librdkafka"),
        "error_cb": _ErrorLog(),
    }
    return config | {name.replace("_", "."): value for name, value in more.items()}


def consumer_config(settings: Settings, **more: Any) -> dict[str, Any]:
    """Return the configuration of every reader: only what was committed, never a silent commit."""
    return client_config(
        settings,
        isolation_level="read_committed",
        enable_auto_commit=False,
        enable_auto_offset_store=False,
        enable_partition_eof=True,
        fetch_message_max_bytes=MAX_MESSAGE_BYTES,
        **more,
    )


class _ErrorLog:
    """Logs the library's connection errors, each kind at most once in half a minute."""

    def __init__(self) -> None:
        self._said: dict[int, float] = {}
        self._log = logger("kafka")

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._said.get(error.code(), -_SAY_AGAIN_AFTER) >= _SAY_AGAIN_AFTER:
            self._said[error.code()] = now
            self._log.warning("kafka_error", error=error.name(), detail=error.str())


def describe(error: KafkaException | KafkaError | BufferError) -> str:
    """Return one line that says which error this is and what the library makes of it."""
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else error
    if isinstance(inner, KafkaError):
        return f"{inner.name()}: {inner.str()}"
    return str(inner)


def fate(error: KafkaException | KafkaError | BufferError, doing: str) -> PagestreamError:
    """Return this program's error for one of the library's; `doing` says what was tried."""
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else error
    message = f"{doing}: {describe(error)}"
    stops = _STOPS.get(_code(inner)) if isinstance(inner, KafkaError) else None
    if stops is None:
        return BrokerUnavailable(message)
    return stops.error(message, remedy=stops.remedy)


def _code(error: KafkaError) -> int:
    # A consumer's fatal errors all come as one code; which one it was stands only in the text.
    if error.code() == _FATAL and "fenced" in error.str().lower():
        return KafkaError.FENCED_INSTANCE_ID
    return error.code()


def answer_about_group(ask: Callable[[float], T], seconds: float) -> T:
    """Return the broker's answer about a group; asks again, for `seconds`, while none comes.

    Where a group is the cluster's first, its coordinator has yet to be made. The library looks for
    it three times within a third of a second, and then waits in silence for its time to be over.
    `ask` is given the seconds for one try. Raises KafkaException or TimeoutError.
    """
    tries = retry_context(on=_may_pass, attempts=None, timeout=seconds, wait_max=0.5)
    for attempt in tries:
        with attempt:
            answer = ask(min(seconds, _ONE_TRY_SECONDS))
    return answer


def _may_pass(error: Exception) -> bool:
    if isinstance(error, KafkaException):
        known = error.args[0].code() in (KafkaError.GROUP_ID_NOT_FOUND, *_HAS_MEMBERS)
        return not known and isinstance(fate(error, "asking"), BrokerUnavailable)
    return isinstance(error, TimeoutError)


def group_has_members(error: KafkaException) -> bool:
    """Tell whether the broker refused because the group has members."""
    return error.args[0].code() in _HAS_MEMBERS


class Names:
    """Turns the topics' short names into the broker's, and back."""

    def __init__(self, settings: Settings) -> None:
        self._start = f"{settings.topic_prefix}."

    def full(self, topic: str) -> str:
        """Return the broker's name of a topic."""
        return self._start + topic

    def short(self, topic: str) -> str:
        """Return the short name of one of the broker's topics."""
        return topic.removeprefix(self._start)

    def native(
        self, partition: Partition, offset: int = OFFSET_INVALID, metadata: str = ""
    ) -> TopicPartition:
        """Return the library's own value for a partition, with a position where one is given."""
        return TopicPartition(
            self.full(partition.topic), partition.number, offset, metadata=metadata
        )

    def natives(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        """Return the library's own values for partitions."""
        return [self.native(partition) for partition in partitions]

    def partition(self, native: TopicPartition) -> Partition:
        """Return our value for one of the library's."""
        return Partition(self.short(native.topic), native.partition)
