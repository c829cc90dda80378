"""How a connection to a source is made: to which address, and until when it may be used."""

import ipaddress
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Final

import httpcore
import msgspec

from runtime.errors import SourceError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Sequence[str]]
"""What gives the addresses of a name, best first; OSError when there are none."""

_LOOPBACK: Final = ("127.0.0.1", "::1")
_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
# NAT64 (RFC 6052): behind it, every IPv4 address is reached under this prefix.
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine: 127.0.0.0/8, ::1, localhost or below localhost."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: Address) -> bool:
    """Tell whether an address is anybody's to reach: global unicast, within IPv6 too.

    Not private, loopback, link-local, shared (RFC 6598), multicast, unspecified or reserved; an
    IPv4 address that travels in an IPv6 one is judged itself.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    if address in _TRANSLATED:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return is_public(inner)
    return address.is_global and address in _UNICAST_V6


def resolve(host: str) -> Sequence[str]:
    """Return the addresses that the system knows of a name; it may take as long as it likes."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} can be no host's name: {error}") from error
    return [str(sockaddr[0]) for *_, sockaddr in found]


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


class Route(msgspec.Struct, frozen=True):
    """Where connections may go.

    `address` is the host and port to dial whatever is asked for, None for what is asked for.
    `loopback` permits this machine, `private` every address that is not public.
    """

    address: tuple[str, int] | None
    loopback: bool
    private: bool

    def permits(self, address: Address) -> bool:
        """Tell whether this address may be dialled."""
        return self.private or (self.loopback and address.is_loopback) or is_public(address)


class Dialler(httpcore.SyncBackend):
    """Connects to where the route leads, and to nothing that is not to be reached.

    1. The name is resolved, within the deadline. One below localhost is loopback by definition
       (RFC 6761, 6.3), whatever a resolver says.
    2. Addresses that the route does not permit are left out; SourceError when none is left.
    3. Those very addresses are dialled, one after the other: no second look-up can say otherwise.

    Host header, TLS name and connection pool stay those of the host that is asked for.
    """

    def __init__(self, route: Route, deadline: Deadline, resolve: Resolve = resolve) -> None:
        self._route = route
        self._deadline = deadline
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the route's address, else to the host, within `timeout` seconds in all.

        Raises httpcore's own errors, OSError for a name that has no address, and SourceError for
        one at which nothing may be asked.
        """
        dialled, port = self._route.address or (host, port)
        until = time.monotonic() + self._deadline.shorten(timeout, httpcore.ConnectTimeout)
        found = self._addresses(dialled, until)
        permitted = self._permitted(host, found)
        failed: Exception = OSError(f"{host} has no address")
        for number, address in enumerate(permitted):
            # An address that swallows everything must leave time for those after it.
            left = (until - time.monotonic()) / (len(permitted) - number)
            try:
                stream = super().connect_tcp(
                    address, port, max(left, 0.001), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error if number == 0 else failed
            else:
                return _Stream(stream, self._deadline)
        raise failed

    def _addresses(self, host: str, until: float) -> Sequence[str]:
        if _literal(host) is not None:
            return [host]
        return _LOOPBACK if is_loopback(host) else self._resolved(host, until)

    def _resolved(self, host: str, until: float) -> Sequence[str]:
        """Return a name's addresses; a thread of its own, for a look-up cannot be broken off."""
        answer: Future[Sequence[str]] = Future()
        threading.Thread(
            target=_answer, args=(self._resolve, host, answer), name="resolve", daemon=True
        ).start()
        try:
            return answer.result(max(until - time.monotonic(), 0.001))
        except TimeoutError as error:
            if answer.done():
                raise
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from error

    def _permitted(self, host: str, found: Sequence[str]) -> list[str]:
        """Return those of `found` that may be dialled; SourceError when all are forbidden."""
        judged = [address for name in found if (address := _literal(name)) is not None]
        permitted = [str(address) for address in judged if self._route.permits(address)]
        if judged and not permitted:
            raise SourceError(
                "refused",
                f"{host} is at {judged[0]}, which is not a public address: nothing was asked; set "
                "PAGESTREAM_SOURCE_PRIVATE=true where sites are served from such addresses",
            )
        return list(dict.fromkeys(permitted))


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _answer(resolve: Resolve, host: str, answer: Future[Sequence[str]]) -> None:
    try:
        answer.set_result(resolve(host))
    except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
        answer.set_exception(error)
