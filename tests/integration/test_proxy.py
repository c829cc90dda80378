"""The tests' proxy: it cuts, delays and freezes what passes, and otherwise changes nothing."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from proxy import TO_CLIENT, TO_SERVER, Direction, Proxy


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionError):  # the proxy may have cut
            while data := self.request.recv(65_536):
                self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[Proxy]:
    """A proxy before a server that gives back what it gets."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    with Proxy(f"127.0.0.1:{server.server_address[1]}") as proxy:
        yield proxy
    server.shutdown()
    server.server_close()


def connected(proxy: Proxy) -> socket.socket:
    host, _, port = proxy.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        received = client.recv(count - len(data))
        assert received, "the connection ended"
        data += received
    return data


def is_silent(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        client.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)
    return False


def test_everything_passes_in_order_and_so_does_its_end(echo: Proxy) -> None:
    sent = bytes(range(256)) * 20_000
    with connected(echo) as client:
        threading.Thread(target=client.sendall, args=(sent,)).start()
        assert read(client, len(sent)) == sent
        assert echo.passed(TO_CLIENT) == len(sent)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


@pytest.mark.parametrize("direction", [TO_SERVER, TO_CLIENT])
def test_a_frozen_direction_holds_back_and_loses_nothing(echo: Proxy, direction: Direction) -> None:
    with connected(echo) as client:
        echo.freeze(direction)
        client.sendall(b"held")
        echo.wait_until_held(direction)
        assert is_silent(client)
        echo.thaw(direction)
        assert read(client, 4) == b"held"
        assert echo.held() == 0


def test_connections_to_come_are_frozen_too(echo: Proxy) -> None:
    echo.freeze()
    with connected(echo) as client:
        client.sendall(b"held")
        echo.wait_until_held()
        assert is_silent(client)
        echo.thaw()
        assert read(client, 4) == b"held"


def test_one_connection_alone_is_frozen_or_cut(echo: Proxy) -> None:
    with connected(echo) as first, connected(echo) as second:
        for client in (first, second):
            client.sendall(b"x")
            assert read(client, 1) == b"x"
        port = first.getsockname()[1]
        (chosen,) = [found for found in echo.connections if found.client == port]
        chosen.freeze(TO_SERVER)
        first.sendall(b"held")
        chosen.wait_until_held()
        second.sendall(b"y")
        assert read(second, 1) == b"y"
        chosen.cut()
        with pytest.raises(ConnectionResetError):
            first.recv(1)
        second.sendall(b"z")
        assert read(second, 1) == b"z"


def test_a_delay_holds_for_every_byte_and_keeps_their_order(echo: Proxy) -> None:
    with connected(echo) as client:
        echo.delay(0.2, TO_SERVER)
        began = time.monotonic()
        for number in range(10):
            client.sendall(bytes([number]))
        assert read(client, 10) == bytes(range(10))
        assert time.monotonic() - began >= 0.2
        echo.delay(0)
        client.sendall(b"x")
        assert read(client, 1) == b"x"


def test_it_refuses_and_accepts_again_at_the_same_address(echo: Proxy) -> None:
    address = echo.address
    with connected(echo) as client:
        client.sendall(b"x")
        assert read(client, 1) == b"x"
        echo.refuse()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connected(echo)
    echo.accept()
    assert echo.address == address
    with connected(echo) as client:
        client.sendall(b"x")
        assert read(client, 1) == b"x"


def test_a_server_that_is_away_hangs_up() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            Proxy(f"127.0.0.1:{nobody.getsockname()[1]}") as proxy,
            connected(proxy) as client,
        ):
            assert client.recv(1) == b""
