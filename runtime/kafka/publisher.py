"""Publishing outside a transaction: commands from people, each acknowledged before it counts."""

from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from runtime.errors import Unavailable
from runtime.kafka.client import Names, client_config, fate
from runtime.kafka.records import Outgoing
from runtime.settings import Settings
from schemas.topics import MAX_MESSAGE_BYTES

_SECONDS: Final = 15.0


class Publisher:
    """Writes records idempotently and waits until the broker has every one of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = Names(settings)
        self._producer = Producer(
            client_config(
                settings,
                enable_idempotence=True,
                acks="all",
                compression_type="zstd",
                message_max_bytes=MAX_MESSAGE_BYTES,
                message_timeout_ms=int(_SECONDS * 1000),
            )
        )

    def publish(self, records: list[Outgoing]) -> None:
        """Write all records; raises Unavailable or ConfigurationError when one was not taken."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: "Message[bytes, bytes]") -> None:
            if error is not None:
                failures.append(error)

        for record in records:
            try:
                self._producer.produce(
                    self._names.full(record.topic),
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                    headers=dict[str, str | bytes | None](record.headers),
                    on_delivery=delivered,
                )
            except KafkaException as error:
                raise fate(error, "publishing") from error
        left = self._producer.flush(_SECONDS + 5)
        if failures:
            raise fate(failures[0], "publishing")
        if left:
            raise Unavailable(
                f"Kafka at {self._settings.kafka} took {len(records) - left} of {len(records)}",
                remedy="start it, or set PAGESTREAM_KAFKA to where it is",
            )
