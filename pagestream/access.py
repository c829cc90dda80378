"""Reaching the servers from a command: at once, or one line that says which one is not there."""

import contextlib
import socket
from typing import Final

from runtime.errors import ConfigurationError, Unavailable
from runtime.kafka.cluster import Cluster
from runtime.settings import Settings

_CONNECT_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 10.0
_DEFAULT_PORT: Final = 9092


def open_cluster(settings: Settings) -> Cluster:
    """Return the Kafka cluster, seen to listen; raises like `check_kafka_listens`."""
    check_kafka_listens(settings)
    return Cluster(settings, seconds=_ANSWER_SECONDS)


def check_kafka_listens(settings: Settings) -> None:
    """Raise Unavailable unless one of Kafka's addresses takes a connection.

    The client itself would try a refused address for as long as it is allowed to.
    """
    problems = []
    for address in settings.kafka.split(","):
        problem = _refusal(*_parse(address))
        if problem is None:
            return
        problems.append(problem)
    raise Unavailable(
        f"Kafka at {settings.kafka} does not answer ({'; '.join(problems)})",
        remedy="start it (`pagestream up` starts one), or set PAGESTREAM_KAFKA to where it is",
    )


def _refusal(host: str, port: int) -> str | None:
    try:
        with contextlib.closing(socket.create_connection((host, port), _CONNECT_SECONDS)):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _parse(address: str) -> tuple[str, int]:
    host, separator, port = address.strip().rpartition(":")
    if not separator:
        return address.strip(), _DEFAULT_PORT
    if not host or not (port.isascii() and port.isdecimal()):
        raise ConfigurationError(
            f"PAGESTREAM_KAFKA: {address.strip()!r} is not host:port",
            remedy="correct it in the environment or in .env",
        )
    return host.rpartition("://")[2].strip("[]"), int(port)
