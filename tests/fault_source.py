"""A kit of faults: one server, each of whose sites is a real Datasette but for what goes wrong.

A test names a Datasette and plans troubles for its site: which requests, what happens to them, and
how often. Every other request is relayed to the Datasette as it came, and its answer given back as
it came. So what a walk meets is real but for the one fault, and what the source saw is recorded.
"""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, Self
from urllib.parse import urlencode

from fault_time import SteeredTime
from fix_scripted_source import ENDLESS, Answer, Asked, Line, ScriptedSource, answer
from fix_source import SourceSite

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What a real Datasette answered."""

    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Body:
        """Its body, as an object that is the caller's own."""
        found: Body = json.loads(self.body)
        return found

    def answer(self) -> Answer:
        """Give it back as it came."""
        return answer(self.body, status=self.status, content_type=self.content_type)


@dataclass(frozen=True)
class Request:
    """One request that a site saw, when, and whether it came to grief.

    `response` counts the cursors of pages that came before: 1 for the first response of a walk.
    """

    asked: Asked
    at: float
    response: int
    troubled: bool

    @property
    def cursor(self) -> str | None:
        """The cursor that it went on from."""
        return self.asked.query.get("_next")


Where = Callable[[Request], bool]
"""Which requests a trouble is for."""

Act = Callable[["Plot", Asked], Answer]
"""What happens to a request."""


@dataclass
class Trouble:
    """What goes wrong, where, and how many more times."""

    where: Where
    act: Act
    times: int


@dataclass
class Plot:
    """One site: the Datasette behind it, what goes wrong in front of it, and what it was asked."""

    site: SourceSite
    time: SteeredTime
    requests: list[Request] = field(default_factory=list)
    _troubles: list[Trouble] = field(default_factory=list)
    _cursors: list[str | None] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def trouble(self, where: Where, act: Act, times: int = ENDLESS) -> Self:
        """Plan a trouble; the first that fits a request is the one that happens to it."""
        self._troubles.append(Trouble(where, act, times))
        return self

    def heal(self) -> None:
        """Have nothing go wrong any more."""
        with self._lock:
            self._troubles.clear()

    def count(self, where: Where) -> int:
        """Return how many such requests have come."""
        return sum(map(where, self.requests.copy()))

    @property
    def troubled(self) -> list[Request]:
        """The requests that came to grief."""
        return [request for request in self.requests.copy() if request.troubled]

    def give(self, asked: Asked) -> Answer:
        """Take a request, and return what is to be answered."""
        with self._lock:
            request = Request(asked, self.time.monotonic(), self._response(asked), troubled=False)
            trouble = next(
                (one for one in self._troubles if one.times and one.where(request)), None
            )
            if trouble is not None:
                trouble.times -= 1
            self.requests.append(
                Request(asked, request.at, request.response, troubled=trouble is not None)
            )
        return as_it_is(self, asked) if trouble is None else trouble.act(self, asked)

    def _response(self, asked: Asked) -> int:
        cursor = asked.query.get("_next")
        if cursor not in self._cursors:
            self._cursors.append(cursor)
        return self._cursors.index(cursor) + 1

    def ask(self, asked: Asked, **query: str) -> Reply:
        """Return what the real Datasette answers; `query` replaces what was asked for."""
        target = asked.target
        if query:
            target = f"{asked.path}?{urlencode({**asked.query, **query})}"
        with closing(HTTPConnection(self.site.address, timeout=60)) as connection:
            connection.request("GET", target)
            response = connection.getresponse()
            content_type = response.headers.get("Content-Type", "")
            return Reply(response.status, content_type, response.read())


class FaultSource:
    """The server of all sites; each is found by the first part of the host that is asked for."""

    def __init__(self, time: SteeredTime) -> None:
        self._time = time
        self._plots: dict[str, Plot] = {}
        self._server = ScriptedSource()
        self._server.choose(self._choose)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._server.__exit__()

    @property
    def address(self) -> str:
        """The server's host:port."""
        return self._server.address

    @property
    def source_url(self) -> str:
        """A template of sites on this server."""
        return self._server.source_url

    def plot(self, name: str, site: SourceSite) -> Plot:
        """Have a Datasette served as the site `name`."""
        plot = self._plots[name] = Plot(site, self._time)
        return plot

    def _choose(self, asked: Asked) -> Answer:
        name = asked.headers["Host"].partition(".localhost")[0]
        return self._plots[name].give(asked)


# Where


def nth(response: int) -> Where:
    """The requests for one response of pages, counted from 1, however often they are made."""
    return lambda request: pages(request) and request.response == response


def pages(request: Request) -> bool:
    """The requests for pages."""
    query = request.asked.query
    return "_sort" in query and "_col" not in query and "id__in" not in query


def listing(request: Request) -> bool:
    """The requests for a listing by SQL."""
    return "json_group_array" in request.asked.query.get("sql", "")


def sql(request: Request) -> bool:
    """The requests by SQL."""
    return "sql" in request.asked.query


def paged_listing(request: Request) -> bool:
    """The requests for a listing by paging."""
    return request.asked.query.get("_col") == "id" and "id__in" not in request.asked.query


def larger_than(rows: int) -> Where:
    """The requests for more than so many pages."""
    return lambda request: pages(request) and int(request.asked.query["_size"]) > rows


def anything(_request: Request) -> bool:
    """Every request."""
    return True


# What happens


def as_it_is(plot: Plot, asked: Asked) -> Answer:
    """Answer as the real Datasette does."""
    return plot.ask(asked).answer()


def with_query(**query: str) -> Act:
    """Answer as the real Datasette does to another question."""
    return lambda plot, asked: plot.ask(asked, **query).answer()


def giving(given: Answer) -> Act:
    """Answer with this, whatever is asked."""
    return lambda _plot, _asked: given


def refusing(status: int, said: object, headers: Mapping[str, str] | None = None) -> Act:
    """Answer with a status and JSON."""
    return giving(answer(json.dumps(said), status=status, headers=headers))


def page_of_html(status: int) -> Act:
    """Answer with a status and a page for people."""
    html = "<html><body><h1>A page for people</h1></body></html>"
    return giving(answer(html, status=status, content_type="text/html; charset=utf-8"))


def changed(change: Callable[[Body], object]) -> Act:
    """Answer as the real Datasette does, with its JSON changed."""

    def act(plot: Plot, asked: Asked) -> Answer:
        body = plot.ask(asked).json
        change(body)
        return answer(json.dumps(body))

    return act


def rewritten(rewrite: Callable[[bytes], bytes]) -> Act:
    """Answer as the real Datasette does, with its bytes changed."""
    return lambda plot, asked: answer(rewrite(plot.ask(asked).body))


def sent_as(send: Callable[[bytes], Answer]) -> Act:
    """Send what the real Datasette answers in another way."""
    return lambda plot, asked: send(plot.ask(asked).body)


def first_text(raw: bytes) -> Act:
    """Answer as the real Datasette does, but with `raw` for the JSON of the first page's text."""

    def rewrite(body: bytes) -> bytes:
        said: Body = json.loads(body)
        said["rows"][0]["text"] = "@@"
        return json.dumps(said).encode().replace(b'"@@"', raw, 1)

    return rewritten(rewrite)


def meanwhile(happens: Callable[[], object], act: Act = as_it_is) -> Act:
    """Have something happen before the request is answered."""

    def first(plot: Plot, asked: Asked) -> Answer:
        happens()
        return act(plot, asked)

    return first


def until(event: threading.Event, act: Act = as_it_is) -> Act:
    """Answer not before `event` is set."""

    def wait(plot: Plot, asked: Asked) -> Answer:
        def give(line: Line) -> None:
            while line.pause(0.02):
                if event.is_set():
                    return act(plot, asked)(line)
            return None

        return give

    return wait
