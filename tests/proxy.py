"""A TCP proxy for tests: it stands before a real server, and cuts, delays or freezes its traffic.

    with Proxy("127.0.0.1:5432") as proxy:
        client.connect(proxy.address)
        proxy.freeze(TO_CLIENT)           # answers are held back, for every connection
        proxy.wait_until_held(TO_CLIENT)  # one has come, and waits here
        proxy.thaw()                      # it goes on, with all that came behind it
        proxy.connections[0].cut()        # this one is reset, on both sides
        proxy.refuse()                    # nobody is connected any more, nor can connect
        proxy.accept()                    # and now they can, at the same address

Everything may be said at any time, from any thread, to the proxy (all connections, and those still
to come) or to one connection; it has taken hold when the call returns. Of what is being frozen, at
most one chunk that had begun to pass goes on passing. A client that is told a server's address by
the server itself (Kafka's are) goes round a proxy: see `fix_proxy.ProxiedKafka`.
"""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, Self, TypeVar

Direction = Literal["to_server", "to_client"]
TO_SERVER: Final[Direction] = "to_server"
TO_CLIENT: Final[Direction] = "to_client"
BOTH: Final[tuple[Direction, ...]] = (TO_SERVER, TO_CLIENT)

_CHUNK: Final = 65_536
_MOST_CHUNKS_HELD: Final = 64
_CALL_SECONDS: Final = 10.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_Answer = TypeVar("_Answer")


class _Manner:
    """How bytes are passed on: whether at all now, and how many seconds late."""

    def __init__(self) -> None:
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.delay = 0.0

    def copy(self) -> "_Manner":
        """Return the same manner, to be changed apart."""
        copied = _Manner()
        copied.delay = self.delay
        if not self.flowing.is_set():
            copied.flowing.clear()
        return copied


class _Flow:
    """The bytes of one connection in one direction; lives in the proxy's thread."""

    def __init__(self, source: socket.socket, sink: socket.socket, manner: _Manner) -> None:
        self._source = source
        self._sink = sink
        self._chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS_HELD)
        self.manner = manner
        self.held = 0
        self.passed = 0

    async def run(self) -> None:
        """Pass on everything, in order, and then the end of it."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._receive())
            both.create_task(self._send())

    async def _receive(self) -> None:
        loop, data = asyncio.get_running_loop(), b"the first"
        while data:
            data = await loop.sock_recv(self._source, _CHUNK)
            self.held += len(data)
            await self._chunks.put((loop.time() + self.manner.delay, data))

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._chunks.get()
            await asyncio.sleep(due - loop.time())
            # Once is not enough: it may be frozen again before this task is awake.
            while not self.manner.flowing.is_set():
                await self.manner.flowing.wait()
            if not data:
                self._sink.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(self._sink, data)
            self.held -= len(data)
            self.passed += len(data)


class _Controls:
    """What can be said of a proxy and of one of its connections alike."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def _flows(self, directions: tuple[Direction, ...]) -> list[_Flow]:
        raise NotImplementedError

    def _manners(self, directions: tuple[Direction, ...]) -> list[_Manner]:
        return [flow.manner for flow in self._flows(directions)]

    def freeze(self, *directions: Direction) -> None:
        """Hold back what is sent in these directions, both if none is named; lose nothing."""
        self._change(directions, lambda manner: manner.flowing.clear())

    def thaw(self, *directions: Direction) -> None:
        """Pass on what was held back, and what comes."""
        self._change(directions, lambda manner: manner.flowing.set())

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Pass on what comes from now on so much later, in order; 0 is no delay."""
        self._change(directions, lambda manner: setattr(manner, "delay", seconds))

    def _change(
        self, directions: tuple[Direction, ...], change: Callable[[_Manner], object]
    ) -> None:
        self._do(lambda: [change(manner) for manner in self._manners(directions or BOTH)])

    def held(self, *directions: Direction) -> int:
        """Return how many bytes have come and were not passed on yet."""
        return self._do(lambda: sum(flow.held for flow in self._flows(directions or BOTH)))

    def passed(self, *directions: Direction) -> int:
        """Return how many bytes were passed on, of connections that are still open."""
        return self._do(lambda: sum(flow.passed for flow in self._flows(directions or BOTH)))

    def wait_until_held(self, *directions: Direction, seconds: float = 20.0) -> None:
        """Wait until something has come that is held back; AssertionError if nothing does."""
        deadline = time.monotonic() + seconds
        while not self.held(*directions):
            assert time.monotonic() < deadline, f"nothing came through {directions or BOTH}"
            time.sleep(0.005)

    def _do(self, what: Callable[[], _Answer]) -> _Answer:
        async def call() -> _Answer:
            return what()

        return self._await(call())

    def _await(self, what: Coroutine[Any, Any, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(_CALL_SECONDS)


class Connection(_Controls):
    """One client's connection through the proxy; `client` is the port that it came from."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: socket.socket,
        server: socket.socket,
        manners: Mapping[Direction, _Manner],
    ) -> None:
        super().__init__(loop)
        self.client: int = client.getpeername()[1]
        self._sockets = (client, server)
        self.flows = {
            TO_SERVER: _Flow(client, server, manners[TO_SERVER].copy()),
            TO_CLIENT: _Flow(server, client, manners[TO_CLIENT].copy()),
        }
        self.task: asyncio.Task[None] | None = None

    def _flows(self, directions: tuple[Direction, ...]) -> list[_Flow]:
        return [self.flows[direction] for direction in directions]

    def cut(self) -> None:
        """Reset the connection on both sides; what was held back is lost."""
        self._do(self.reset)

    def reset(self) -> None:
        """Cut, from within the proxy's thread."""
        for end in self._sockets:
            with suppress(OSError):  # it may have been closed already
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Pass on both directions until both have ended, or one breaks."""
        try:
            async with asyncio.TaskGroup() as both:
                for flow in self.flows.values():
                    both.create_task(flow.run())
        except* OSError:  # the other side of the break hears of it as a reset
            self.reset()
        finally:
            for end in self._sockets:
                end.close()


class Proxy(_Controls):
    """Passes on all connections to its `address` to the server at `target` (both `host:port`)."""

    def __init__(self, target: str) -> None:
        super().__init__(asyncio.new_event_loop())
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._open: list[Connection] = []
        self._to_come: dict[Direction, _Manner] = {way: _Manner() for way in BOTH}
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._port = 0
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._do(self._listen)

    @property
    def address(self) -> str:
        """Where clients connect to; it stays the same."""
        return f"127.0.0.1:{self._port}"

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open now, the oldest first."""
        return self._do(self._open.copy)

    def cut(self) -> None:
        """Reset every connection; the next ones pass."""
        self._do(self._cut_all)

    def refuse(self) -> None:
        """Reset every connection and refuse new ones, as if the server were not there."""
        self._do(self._close_listener)
        self._do(self._cut_all)

    def accept(self) -> None:
        """Let clients connect again."""
        self._do(self._listen)

    def close(self) -> None:
        """Cut everything and end."""
        self.refuse()
        self._await(self._ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    # In the proxy's thread

    def _flows(self, directions: tuple[Direction, ...]) -> list[_Flow]:
        return [connection.flows[way] for connection in self._open for way in directions]

    def _manners(self, directions: tuple[Direction, ...]) -> list[_Manner]:
        return [self._to_come[way] for way in directions] + super()._manners(directions)

    def _listen(self) -> None:
        if self._listener is not None:
            return
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._accepting = self._loop.create_task(self._accept_all(self._listener))

    def _close_listener(self) -> None:
        if self._listener is not None and self._accepting is not None:
            self._accepting.cancel()
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _cut_all(self) -> None:
        for connection in self._open:
            connection.reset()

    async def _ended(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept_all(self, listener: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            self._loop.create_task(self._carry(client)).add_done_callback(_must_not_fail)

    async def _carry(self, client: socket.socket) -> None:
        server = socket.socket()
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._loop.sock_connect(server, self._target)
            connection = Connection(self._loop, client, server, self._to_come)
        except OSError:  # the server is away, or the client has gone: hang up
            client.close()
            server.close()
            return
        connection.task = asyncio.current_task()
        self._open.append(connection)
        try:
            await connection.run()
        finally:
            self._open.remove(connection)


def _must_not_fail(carried: "asyncio.Task[None]") -> None:
    if not carried.cancelled():
        carried.result()
