"""How a connection to a source is made: to which address, and until when it may be used."""

import ipaddress
import math
import ssl
import threading
import time
from collections.abc import Iterable

import httpcore


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine: 127.0.0.0/8, ::1, localhost or below localhost."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Deadline(threading.local):
    """When the request that this thread is making must be over, on the monotonic clock."""

    at: float = math.inf

    def shorten(self, seconds: float | None, over: type[httpcore.TimeoutException]) -> float:
        """Return `seconds`, or what is left before the deadline; raise `over` when nothing is."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise over("the deadline of the whole request has passed")
        return left if seconds is None else min(seconds, left)


class _Stream(httpcore.NetworkStream):
    """A connection on which no single read or write outlasts the request's deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.shorten(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.shorten(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        seconds = self._deadline.shorten(timeout, httpcore.ConnectTimeout)
        return _Stream(
            self._stream.start_tls(ssl_context, server_hostname, seconds), self._deadline
        )

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class Dialler(httpcore.SyncBackend):
    """Connects to `address` where one is given, whatever host is asked for.

    Host header, TLS name and connection pool stay those of the host that is asked for. Names below
    localhost are loopback by definition (RFC 6761, 6.3), but not every resolver knows them.
    """

    def __init__(self, address: tuple[str, int] | None, deadline: Deadline) -> None:
        self._address = address
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the address, else to the host; httpcore's own errors."""
        host, port = self._address or (host, port)
        if host.endswith(".localhost"):
            host = "localhost"
        seconds = self._deadline.shorten(timeout, httpcore.ConnectTimeout)
        stream = super().connect_tcp(host, port, seconds, local_address, socket_options)
        return _Stream(stream, self._deadline)
