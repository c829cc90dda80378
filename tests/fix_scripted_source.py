"""A source that answers by script: what no real server can be made to send, and how it sends it."""

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import pytest

JSON: Final = "application/json; charset=utf-8"
ENDLESS: Final = -1
"""So many times that nobody waits for the last."""


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; `query` is decoded, `target` is not."""

    target: str
    headers: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path


class Line:
    """The connection to the client, as an answer writes to it."""

    def __init__(self, handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        self._handler = handler
        self._closing = closing

    def send(self, data: bytes) -> None:
        """Write bytes at once."""
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def end(self) -> None:
        """Close the connection when this answer has been given."""
        self._handler.close_connection = True

    def pause(self, seconds: float) -> bool:
        """Wait, but not beyond the end of the test; return whether to go on."""
        return not self._closing.wait(seconds)


Answer = Callable[[Line], None]


def head(status: int, headers: Mapping[str, str | int]) -> bytes:
    """Return a response's head."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(
    body: bytes | str = b"",
    *,
    status: int = 200,
    content_type: str | None = JSON,
    headers: Mapping[str, str | int] | None = None,
) -> Answer:
    """Answer with this body, whole."""
    data = body.encode() if isinstance(body, str) else body
    all_headers: dict[str, str | int] = {"Content-Length": len(data), **(headers or {})}
    if content_type is not None:
        all_headers["Content-Type"] = content_type
    return lambda line: line.send(head(status, all_headers) + data)


def rows_body(rows: Sequence[object], following: str | None = None, **more: object) -> str:
    """Return a response of Datasette 1.0 with these rows."""
    return json.dumps({"ok": True, "next": following, "rows": list(rows), **more})


def rows(rows: Sequence[object], following: str | None = None) -> Answer:
    """Answer with these rows, as Datasette 1.0 does."""
    return answer(rows_body(rows, following))


def gzipped(body: bytes, *, cut: int = 0, status: int = 200) -> Answer:
    """Answer with this body as gzip, without the last `cut` bytes of it."""
    data = gzip.compress(body)
    encoding = {"Content-Encoding": "gzip"}
    return answer(data[: len(data) - cut], status=status, headers=encoding)


def redirect(location: str, status: int = 302) -> Answer:
    """Answer that it is elsewhere."""
    return answer(status=status, headers={"Location": location})


def hang() -> Answer:
    """Never answer."""
    return lambda line: _drip(line, b"", b"", 0.05, ENDLESS)


def drip_head(every: float, times: int = ENDLESS) -> Answer:
    """Send a byte of the head each `every` seconds, `times` over, and then the rest of it."""
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Slow: "
    return lambda line: _drip(line, first, b"\r\n\r\n", every, times)


def drip_body(every: float, times: int = ENDLESS, *, status: int = 200) -> Answer:
    """Send a byte of the body each `every` seconds, `times` over."""
    first = head(status, {"Content-Type": JSON})
    return lambda line: _drip(line, first, b"", every, times)


def flood(*, status: int = 200) -> Answer:
    """Send a body without end as fast as it is taken."""

    def give(line: Line) -> None:
        line.end()
        line.send(head(status, {"Content-Type": JSON}))
        while line.pause(0):
            line.send(b"." * 65_536)

    return give


def _drip(line: Line, first: bytes, last: bytes, every: float, times: int) -> None:
    line.end()
    line.send(first)
    while times and line.pause(every):
        times -= 1
        if first:
            line.send(b".")
    line.send(last)


def cut(body: bytes, *, declared: int | None = None) -> Answer:
    """Send a body and close; without `declared`, only the closing says where it ends."""
    headers: dict[str, str | int] = {"Content-Type": JSON}
    if declared is not None:
        headers["Content-Length"] = declared

    def give(line: Line) -> None:
        line.send(head(200, headers) + body)
        line.end()

    return give


def hang_up() -> Answer:
    """Close without a word."""
    return Line.end


class ScriptedSource:
    """A server on loopback that gives its script's answers in turn, and the last one for ever."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.server_names: list[str | None] = []
        self._tls = tls
        self._script: list[Answer] = []
        self._choose: Callable[[Asked], Answer] | None = None
        self._closing = threading.Event()
        self._server = _Server(self)

    def script(self, *answers: Answer) -> None:
        """Replace what is left of the script."""
        self._script = list(answers)

    def choose(self, chosen: Callable[[Asked], Answer]) -> None:
        """Have each request answered by what is chosen for it, instead of in turn."""
        self._choose = chosen

    @property
    def port(self) -> int:
        """The port served on."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """The server's host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def source_url(self) -> str:
        """A template of sites on this server."""
        return f"http://{{subdomain}}.localhost:{self.port}"

    def __enter__(self) -> Self:
        if self._tls is not None:
            self._tls.sni_callback = lambda _, name, __: self.server_names.append(name)
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Take the request that a handler has read, and give the answer that is due."""
        query = parse_qs(urlsplit(handler.path).query, keep_blank_values=True)
        last = {name: values[-1] for name, values in query.items()}
        asked = Asked(handler.path, dict(handler.headers.items()), last)
        self.asked.append(asked)
        self._answer(asked)(Line(handler, self._closing))

    def _answer(self, asked: Asked) -> Answer:
        if self._choose is not None:
            return self._choose(asked)
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, source: ScriptedSource) -> None:
        self.source = source
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def do_GET(self) -> None:
        self.server.source.serve(self)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Say nothing."""


@dataclass
class Scripted:
    """Starts scripted sources, and ends them with the test."""

    running: list[ScriptedSource] = field(default_factory=list)

    def start(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> ScriptedSource:
        """Return a running source with this script."""
        source = ScriptedSource(tls).__enter__()
        source.script(*answers)
        self.running.append(source)
        return source

    def choosing(self, chosen: Callable[[Asked], Answer]) -> ScriptedSource:
        """Return a running source that chooses an answer for each request."""
        source = self.start()
        source.choose(chosen)
        return source


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """Starts sources that answer by script."""
    starter = Scripted()
    yield starter
    for source in starter.running:
        source.__exit__()
