"""What a hostile source can send, and that it is cut: in time, and in memory."""

import gzip
import socket
import ssl
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from fix_http import exactly, get, refused, without_end
from fix_scripted_source import Answer, Line, Scripted, answer, cut, drip_body, flood

from runtime.http import MAX_BODY_BYTES
from runtime.inflating import inflated

PATIENCE = 30.0
"""Seconds within which what never ends by itself must have been cut."""

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
# A gzip member's head, and a block of nothing that may be followed by others without end.
GZIP_HEAD = bytes.fromhex("1f8b08000000000000ff")
EMPTY_BLOCK = bytes.fromhex("000000ffff")


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """300 MB in 0.3 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(300)) + packer.flush()
    assert len(data) < 400_000
    return data


class TestBodies:
    @pytest.mark.parametrize("status", [200, 500])
    def test_that_are_bombs_fill_no_memory(
        self, scripted: Scripted, bomb: bytes, status: int
    ) -> None:
        source = scripted.start(answer(bomb, status=status, headers={"Content-Encoding": "gzip"}))
        tracemalloc.start()
        try:
            if status == 200:
                assert refused(source_url=source.source_url).reason == "too_large"
            else:
                assert len(get(source_url=source.source_url).body) == 16_384
            assert tracemalloc.get_traced_memory()[1] < 2 * MAX_BODY_BYTES
        finally:
            tracemalloc.stop()

    def test_would_be_300_mb_without_a_cap(self, bomb: bytes) -> None:
        parts = inflated([bomb], "gzip", "civic.example", MAX_BODY_BYTES)
        assert sum(map(len, parts)) == 300 * 1024 * 1024

    @pytest.mark.parametrize("declared", [True, False])
    def test_of_100_mb_are_cut(self, scripted: Scripted, declared: bool) -> None:  # noqa: FBT001 - both arms
        sent: list[int] = []

        def give(line: Line) -> None:
            line.end()
            length = b"Content-Length: 104857600\r\n" if declared else b""
            line.send(OK + length + b"\r\n")
            for _ in range(100):
                line.send(b"0" * 1024 * 1024)
                sent.append(1)

        source = scripted.start(give)
        assert refused(source_url=source.source_url).reason == "too_large"
        assert len(sent) < 64

    @pytest.mark.parametrize(
        "endless",
        [
            flood(),
            without_end(CHUNKED, b"4000\r\n" + b"0" * 16_384 + b"\r\n"),
            without_end(OK + b"Content-Encoding: gzip\r\n\r\n" + GZIP_HEAD, EMPTY_BLOCK),
            without_end(OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"0" * 16)),
        ],
        ids=["plain", "chunked", "gzip of nothing", "gzip after gzip"],
    )
    def test_without_end_are_cut(self, scripted: Scripted, endless: Answer) -> None:
        source = scripted.start(endless)
        began = time.monotonic()
        error = refused(source_url=source.source_url, source_deadline=100)
        assert error.reason in {"too_large", "broken_response"}
        assert time.monotonic() - began < PATIENCE

    def test_of_errors_that_hold_nothing_without_end_are_cut(self, scripted: Scripted) -> None:
        head = b"HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\n\r\n"
        source = scripted.start(without_end(head + GZIP_HEAD, EMPTY_BLOCK))
        began = time.monotonic()
        assert get(source_url=source.source_url, source_deadline=100).status == 503
        assert time.monotonic() - began < PATIENCE

    def test_that_drip_end_with_the_deadline(self, scripted: Scripted) -> None:
        """A byte each half second never exceeds the time between two reads."""
        source = scripted.start(drip_body(0.5))
        began = time.monotonic()
        error = refused(source_url=source.source_url, source_read_timeout=2, source_deadline=3)
        assert error.reason == "timeout"
        assert 3 <= time.monotonic() - began < 10

    def test_in_crumbs_end_with_the_deadline(self, scripted: Scripted) -> None:
        """Each byte a chunk: they take long to read, however fast they come."""
        source = scripted.start(without_end(CHUNKED, b"1\r\n0\r\n"))
        began = time.monotonic()
        assert refused(source_url=source.source_url, source_deadline=1).reason == "timeout"
        assert time.monotonic() - began < PATIENCE

    @pytest.mark.parametrize(
        "broken_off",
        [
            cut(b'{"rows": [', declared=1000),
            exactly(CHUNKED + b"a\r\n" + b"0" * 10 + b"\r\n"),
            exactly(CHUNKED + b"a\r\n" + b"0" * 5),
            exactly(OK),
            exactly(b"HTTP/1.1"),
        ],
    )
    def test_that_break_off_are_noticed(self, scripted: Scripted, broken_off: Answer) -> None:
        source = scripted.start(broken_off)
        assert refused(source_url=source.source_url).reason == "broken_response"

    def test_that_only_closing_ends_are_taken_as_they_come(self, scripted: Scripted) -> None:
        """Nothing in HTTP tells that it is not whole: that is for who reads it."""
        source = scripted.start(cut(b'{"rows": ['))
        assert get(source_url=source.source_url).body == b'{"rows": ['


class TestHeads:
    @pytest.mark.parametrize(
        "endless",
        [
            without_end(OK, b"X-More: 1\r\n"),
            without_end(OK + b"X-Long: ", b"0"),
            without_end(b"HTTP/1.1 200 ", b"O"),
            without_end(CHUNKED + b"5;x=", b"0"),
            without_end(CHUNKED + b"0\r\n", b"X-More: 1\r\n"),
            without_end(b"", b"0"),
            without_end(b"", b"\r\n"),
        ],
        ids=["headers", "header", "status", "chunk", "trailer", "noise", "lines"],
    )
    def test_without_end_are_cut(self, scripted: Scripted, endless: Answer) -> None:
        source = scripted.start(endless)
        began = time.monotonic()
        tracemalloc.start()
        try:
            error = refused(source_url=source.source_url, source_deadline=100)
            assert tracemalloc.get_traced_memory()[1] < MAX_BODY_BYTES
        finally:
            tracemalloc.stop()
        assert error.reason == "broken_response"
        assert time.monotonic() - began < PATIENCE

    def test_that_never_come_end_with_the_deadline(self, scripted: Scripted) -> None:
        """Interim responses may be as many as a server likes."""
        source = scripted.start(without_end(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"))
        began = time.monotonic()
        error = refused(source_url=source.source_url, source_deadline=1)
        assert error.reason == "timeout"
        assert time.monotonic() - began < PATIENCE

    @pytest.mark.parametrize(
        "head",
        [
            OK + b"".join(b"X-%d: 1\r\n" % number for number in range(50_000)) + b"\r\n{}",
            OK + b"X-Long: " + b"0" * 10_000_000 + b"\r\n\r\n{}",
            OK + b"Content-Length: -1\r\n\r\n{}",
            OK + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
            OK + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
            CHUNKED + b"ffffffffffffffffffffffff\r\n{}",
            CHUNKED + b"-1\r\n{}",
            OK + b"Bad Name: 1\r\n\r\n{}",
            OK + b"X: a\0b\r\n\r\n{}",
            b"HTTP/1.1 20 OK\r\n\r\n{}",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n{}",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"{}",
        ],
    )
    def test_that_break_the_protocol_are_refused(self, scripted: Scripted, head: bytes) -> None:
        source = scripted.start(exactly(head))
        began = time.monotonic()
        error = refused(source_url=source.source_url)
        assert error.reason in {"broken_response", "unreachable"}
        assert time.monotonic() - began < PATIENCE


class TestRefusals:
    def test_of_a_connection_are_unreachable(self) -> None:
        with socket.socket() as taken:  # bound, and listened at by nobody
            taken.bind(("127.0.0.1", 0))
            url = f"http://{{subdomain}}.localhost:{taken.getsockname()[1]}"
            assert refused(source_url=url).reason == "unreachable"

    def test_in_mid_air_are_no_answer(self, scripted: Scripted) -> None:
        def reset(line: Line) -> None:
            connection = line._handler.connection  # noqa: SLF001 - no answer closes so rudely
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
            line.end()

        source = scripted.start(reset)
        assert refused(source_url=source.source_url).reason == "unreachable"


class TestTls:
    URL = "https://{subdomain}.civic.example"
    NAME = "*.ca.civic.example"

    @pytest.fixture
    def authority(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
        """An authority that the client trusts."""
        authority = trustme.CA()
        with authority.cert_pem.tempfile() as bundle:
            monkeypatch.setenv("SSL_CERT_FILE", bundle)
            yield authority

    @staticmethod
    def of(certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    def test_reaches_who_is_trusted(self, scripted: Scripted, authority: trustme.CA) -> None:
        source = scripted.start(answer("{}"), tls=self.of(authority.issue_cert(self.NAME)))
        assert get(source_url=self.URL, source_connect=source.address).status == 200

    @pytest.mark.parametrize(
        ("begins", "ends", "said"), [(-20, -10, "expired"), (10, 20, "not yet valid")]
    )
    def test_says_nothing_out_of_time(
        self, scripted: Scripted, authority: trustme.CA, begins: int, ends: int, said: str
    ) -> None:
        now = datetime.now(UTC)
        certificate = authority.issue_cert(
            self.NAME,
            not_before=now + timedelta(days=begins),
            not_after=now + timedelta(days=ends),
        )
        source = scripted.start(answer("{}"), tls=self.of(certificate))
        error = refused(source_url=self.URL, source_connect=source.address, source_secret="s")  # noqa: S106 - this test's alone
        assert error.reason == "tls"
        assert said in str(error)
        assert source.asked == []

    def test_says_nothing_to_who_vouches_for_itself(self, scripted: Scripted) -> None:
        stranger = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain = trustme.Blob(stranger.private_key_pem.bytes() + stranger.cert_pem.bytes())
        with chain.tempfile() as file:
            context.load_cert_chain(file)
        source = scripted.start(answer("{}"), tls=context)
        error = refused(source_url=self.URL, source_connect=source.address)
        assert error.reason == "tls"
        assert "self-signed" in str(error)
        assert source.asked == []

    def test_says_nothing_where_none_is_spoken(self, scripted: Scripted) -> None:
        source = scripted.start(answer("{}"))
        error = refused(source_url=self.URL, source_connect=source.address, source_deadline=3)
        assert error.reason in {"tls", "timeout"}
        assert source.asked == []


def test_every_attack_is_an_answer(scripted: Scripted) -> None:
    """The control arm: what the tests above send reaches a client that takes it."""
    whole: Callable[[bytes], Answer] = lambda body: exactly(  # noqa: E731 - a table's column
        OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    source = scripted.start(whole(b"{}"), exactly(CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"))
    assert get(source_url=source.source_url).body == b"{}"
    assert get(source_url=source.source_url).body == b"{}"
