"""What the door to the web believes of what comes back, and when it gives up waiting."""

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable

import httpx
import pytest
from fix_http import client, get, refused
from fix_scripted_source import (
    Scripted,
    answer,
    cut,
    drip_body,
    drip_head,
    flood,
    gzipped,
    hang,
    hang_up,
)

from runtime.dialling import Deadline
from runtime.errors import SourceError
from runtime.http import (
    MAX_BODY_BYTES,
    MAX_ERROR_BYTES,
    VENDOR_ERRORS,
    Received,
)

PATIENCE = 10.0
"""Seconds within which an answer that was cut at half a second must be given up."""


class TestBodies:
    def test_are_decompressed(self, scripted: Scripted) -> None:
        body = b'{"rows": []}' * 100_000
        source = scripted.start(gzipped(body))
        assert get(source_url=source.source_url).body == body

    @pytest.mark.parametrize("compressed", [True, False])
    def test_end_at_the_cap(self, scripted: Scripted, compressed: bool) -> None:  # noqa: FBT001 - both arms
        body = b"0" * (MAX_BODY_BYTES + 1)
        source = scripted.start(gzipped(body) if compressed else answer(body))
        error = refused(source_url=source.source_url)
        assert error.reason == "too_large"
        assert error.received == "0" * 200

    def test_fill_no_memory_beyond_the_cap(self, scripted: Scripted) -> None:
        source = scripted.start(gzipped(bytes(100 * 1024 * 1024)))
        tracemalloc.start()
        try:
            refused(source_url=source.source_url)
            assert tracemalloc.get_traced_memory()[1] < 2 * MAX_BODY_BYTES
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, 2**18 + 1, 2**20, 3_000_000])
    def test_of_any_size_are_decompressed_to_their_end(self, scripted: Scripted, size: int) -> None:
        body = bytes(size)
        source = scripted.start(gzipped(body))
        assert get(source_url=source.source_url).body == body

    def test_may_reach_the_cap(self, scripted: Scripted) -> None:
        source = scripted.start(gzipped(b"0" * MAX_BODY_BYTES))
        assert len(get(source_url=source.source_url).body) == MAX_BODY_BYTES

    @pytest.mark.parametrize(
        "reply",
        [
            gzipped(b'{"rows": []}' * 1000, cut=1),
            gzipped(b'{"rows": []}' * 1000, cut=20),
            answer(gzip.compress(b"{}") + b"more", headers={"Content-Encoding": "gzip"}),
            answer("{}", headers={"Content-Encoding": "gzip"}),
            answer("{}", headers={"Content-Encoding": "br"}),
            answer(zlib.compress(b"{}"), headers={"Content-Encoding": "deflate"}),
            cut(b'{"rows": [', declared=1000),
        ],
    )
    def test_that_are_not_whole_are_broken(
        self, scripted: Scripted, reply: Callable[..., None]
    ) -> None:
        source = scripted.start(reply)
        assert refused(source_url=source.source_url).reason == "broken_response"

    def test_of_errors_are_read_only_in_part(self, scripted: Scripted) -> None:
        body = b"0" * 1_000_000
        source = scripted.start(answer(body, status=500), gzipped(body, status=500), answer(body))
        with client(source_url=source.source_url) as http:
            lengths = [len(http.get("alameda.ca", "/", {}).body) for _ in range(3)]
        assert lengths == [MAX_ERROR_BYTES, MAX_ERROR_BYTES, len(body)]

    def test_of_errors_are_not_read_to_their_end(self, scripted: Scripted) -> None:
        source = scripted.start(flood(status=500))
        began = time.monotonic()
        assert get(source_url=source.source_url, source_deadline=60).status == 500
        assert time.monotonic() - began < PATIENCE

    def test_of_errors_may_break_off(self, scripted: Scripted) -> None:
        broken_gzip = answer("oops", status=402, headers={"Content-Encoding": "gzip"})
        source = scripted.start(broken_gzip, drip_body(0.02, status=503))
        with client(source_url=source.source_url, source_deadline=0.5) as http:
            assert http.get("alameda.ca", "/", {}).status == 402
            assert http.get("alameda.ca", "/", {}).status == 503

    def test_are_shown_by_their_beginning(self) -> None:
        shown = Received(200, "text/html", b"\0\xff" + "ü€😀".encode() * 100).excerpt
        assert len(shown) == 200
        assert shown.startswith("\ufffd\ufffdü€😀")


class TestTime:
    SLOW = ("drip_head", "drip_body")

    @staticmethod
    def slowly(name: str, times: int = -1) -> Callable[..., None]:
        return drip_head(0.02, times) if name == "drip_head" else drip_body(0.02, times)

    @pytest.mark.parametrize("name", SLOW)
    def test_of_the_whole_request_is_limited(self, scripted: Scripted, name: str) -> None:
        source = scripted.start(self.slowly(name))
        began = time.monotonic()
        error = refused(source_url=source.source_url, source_deadline=0.5)
        assert error.reason == "timeout"
        assert time.monotonic() - began < PATIENCE

    @pytest.mark.parametrize("name", SLOW)
    def test_is_limited_by_nothing_else(
        self, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr(Deadline, "shorten", lambda _, seconds, __: seconds)
        source = scripted.start(self.slowly(name, times=20))
        assert get(source_url=source.source_url, source_deadline=0.1).status == 200

    def test_of_one_read_is_limited_by_the_whole_too(self, scripted: Scripted) -> None:
        source = scripted.start(hang())
        began = time.monotonic()
        error = refused(source_url=source.source_url, source_deadline=0.5, source_read_timeout=60)
        assert error.reason == "timeout"
        assert time.monotonic() - began < PATIENCE

    def test_between_two_reads_is_limited(self, scripted: Scripted) -> None:
        source = scripted.start(hang())
        assert refused(source_url=source.source_url, source_read_timeout=0.2).reason == "timeout"

    def test_begins_anew_with_each_request(self, scripted: Scripted) -> None:
        source = scripted.start(drip_body(0.02, times=5))
        with client(source_url=source.source_url, source_deadline=1.0) as http:
            began = time.monotonic()
            while time.monotonic() - began < 1.3:
                assert http.get("alameda.ca", "/", {}).status == 200

    def test_of_a_handshake_is_limited(self, scripted: Scripted) -> None:
        source = scripted.start(hang())  # it waits for a request, and gets a TLS greeting
        error = refused(
            source_url="https://{subdomain}.civic.example",
            source_connect=source.address,
            source_deadline=0.5,
        )
        assert error.reason in {"timeout", "tls"}


def test_says_when_nobody_answers(scripted: Scripted) -> None:
    source = scripted.start(answer("{}"))
    source.__exit__()
    scripted.running.clear()
    assert refused(source_url=source.source_url).reason == "unreachable"


def test_says_when_the_connection_is_closed_without_a_word(scripted: Scripted) -> None:
    source = scripted.start(hang_up())
    assert refused(source_url=source.source_url).reason == "broken_response"


HTTPX_ERRORS = sorted(
    (thing for thing in vars(httpx).values() if isinstance(thing, type)),
    key=lambda thing: thing.__name__,
)


@pytest.mark.parametrize(
    "family", [thing for thing in HTTPX_ERRORS if issubclass(thing, Exception)]
)
def test_every_error_of_httpx_becomes_ours(
    monkeypatch: pytest.MonkeyPatch, family: type[Exception]
) -> None:
    error = family.__new__(family)
    Exception.__init__(error, "boom")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(httpx.Client, "stream", fail)
    ours = refused()
    assert "boom" in str(ours)
    assert ours.__cause__ is error
    if issubclass(family, httpx.TimeoutException):
        assert ours.reason == "timeout"


def test_httpx_has_errors_to_be_enumerated() -> None:
    assert {httpx.ReadTimeout, httpx.InvalidURL, httpx.StreamClosed} <= set(HTTPX_ERRORS)
    assert not issubclass(SourceError, VENDOR_ERRORS)
