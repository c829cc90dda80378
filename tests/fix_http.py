"""Ways to ask a source through the door to the web, and what a hostile one sends back."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
from fix_scripted_source import Answer, Line, Scripted, ScriptedSource, answer

from runtime import dialling
from runtime.errors import SourceError
from runtime.http import HttpClient, Reason, Received
from runtime.settings import Settings


@contextmanager
def client(resolve: dialling.Resolve = dialling.resolve, **settings: Any) -> Iterator[HttpClient]:
    """Return a client with these settings and no others."""
    http = HttpClient(Settings(_env_file=None, **settings), resolve)
    try:
        yield http
    finally:
        http.close()


def get(site: str = "alameda.ca", **settings: Any) -> Received:
    """Return what a site answers to one request of a client with these settings."""
    with client(**settings) as http:
        return http.get(site, "/meetings/minutes.json", {"_size": "10"})


def refused(site: str = "alameda.ca", **settings: Any) -> SourceError:
    """Return the error of one request, whose reason is one of the known ones."""
    with pytest.raises(SourceError) as caught:
        get(site, **settings)
    assert caught.value.reason in get_args(Reason)
    return caught.value


def without_end(first: bytes, again: bytes) -> Answer:
    """Answer with these bytes, and then with those over and over, as fast as they are taken."""

    def give(line: Line) -> None:
        line.end()
        line.send(first)
        piece = again * (65_536 // len(again) or 1)
        while line.pause(0):
            line.send(piece)

    return give


def exactly(data: bytes) -> Answer:
    """Answer with these bytes, head and all, and close."""

    def give(line: Line) -> None:
        line.send(data)
        line.end()

    return give


@dataclass
class Names:
    """A resolver by script: the answers in turn, and the last one for ever."""

    answers: list[Sequence[str]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@dataclass
class Internet:
    """Every address there is, each leading to `source`; `dialled` are those that were."""

    source: ScriptedSource
    dialled: list[str] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)

    @property
    def source_url(self) -> str:
        """A template of sites of a name that only a resolver can place."""
        return "http://{subdomain}.civic.example"


@pytest.fixture
def internet(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> Internet:
    """An internet of one server: what a test must not dial for real."""
    internet = Internet(scripted.start(answer("{}")))
    connect = socket.create_connection

    def dial(address: tuple[str, int], timeout: float, **more: Any) -> socket.socket:
        internet.dialled.append(address[0])
        internet.timeouts.append(timeout)
        if address[0] in internet.silent:
            raise TimeoutError("timed out")
        return connect(("127.0.0.1", internet.source.port), timeout, **more)

    monkeypatch.setattr(socket, "create_connection", dial)
    return internet
