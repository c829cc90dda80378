"""Where the door to the web lets no request go, whatever a name resolves to."""

import ipaddress
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from fix_http import Internet, Names, client, get, refused
from fix_scripted_source import Scripted, answer, redirect

from runtime import dialling
from runtime.dialling import Route, is_public
from runtime.errors import SourceError

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "64:ff9b::5db8:d822", "2002:5db8:d822::1"]

NOT_PUBLIC = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",  # where clouds hand out credentials
    "100.64.0.1",  # carriers' own
    "100.127.255.255",
    "0.0.0.0",  # noqa: S104 - nothing is bound here
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "4000::1",
    "100::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_knows_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
class TestAddressesOfNobodyElse:
    def test_are_not_dialled(self, internet: Internet, address: str) -> None:
        error = refused(source_url=internet.source_url, resolve=Names([[address]]))
        assert error.reason == "refused"
        assert "PAGESTREAM_SOURCE_PRIVATE" in str(error)
        assert internet.dialled == []
        assert internet.source.asked == []

    def test_are_dialled_where_they_may_be(self, internet: Internet, address: str) -> None:
        names = Names([[address]])
        get(source_url=internet.source_url, source_private=True, resolve=names)
        assert internet.dialled == [str(ipaddress.ip_address(address))]
        assert internet.source.asked[0].headers["Host"] == "alameda.ca.civic.example"


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_dialled(internet: Internet, address: str) -> None:
    get(source_url=internet.source_url, resolve=Names([[address]]))
    assert internet.dialled == [address]


def test_only_the_public_ones_of_several_are_dialled(internet: Internet) -> None:
    names = Names([["10.0.0.1", "::1", "1.1.1.1", "127.0.0.1"]])
    get(source_url=internet.source_url, resolve=names)
    assert internet.dialled == ["1.1.1.1"]


class TestRebinding:
    """A name that is at a public address when it is judged, and elsewhere a moment later."""

    def test_is_dialled_where_it_was_judged(self, internet: Internet) -> None:
        names = Names([["1.1.1.1"], ["127.0.0.1"]])
        get(source_url=internet.source_url, resolve=names)
        assert internet.dialled == ["1.1.1.1"]
        assert names.asked == ["alameda.ca.civic.example"]

    def test_is_judged_anew_for_each_connection(self, internet: Internet) -> None:
        names = Names([["1.1.1.1"], ["127.0.0.1"]])
        internet.source.script(answer("{}", headers={"Connection": "close"}))
        with client(names, source_url=internet.source_url) as http:
            assert http.get("alameda.ca", "/", {}).status == 200
            with pytest.raises(SourceError) as caught:
                http.get("alameda.ca", "/", {})
        assert caught.value.reason == "refused"
        assert internet.dialled == ["1.1.1.1"]
        assert len(internet.source.asked) == 1

    def test_cannot_be_between_two_look_ups_of_the_system(
        self, internet: Internet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The system's own resolver is asked once, so that it has no second answer to give."""
        answers = iter(["1.1.1.1", "127.0.0.1"])
        looked_up: list[str] = []

        def look_up(host: str, *_: object, **__: object) -> list[object]:
            looked_up.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 0))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        internet.silent = {"1.1.1.1"}
        assert refused(source_url=internet.source_url).reason == "timeout"
        assert looked_up == ["alameda.ca.civic.example"]
        assert internet.dialled == ["1.1.1.1"]


class TestNumbersForNames:
    """Hosts that are addresses in disguise, and only the system's resolver knows it."""

    @pytest.mark.parametrize(
        ("site", "base"),
        [
            ("127", "1"),
            ("127", "0.0.1"),
            ("0x7f", "1"),
            ("0", "0.0.0"),
            ("0", "0"),
            ("127", "0x1"),
        ],
    )
    def test_are_judged_as_what_they_are(self, scripted: Scripted, site: str, base: str) -> None:
        source = scripted.start(answer("{}"))
        url = f"http://{{subdomain}}.{base}:{source.port}"
        assert refused(site, source_url=url).reason == "refused"
        assert source.asked == []
        assert get(site, source_url=url, source_private=True).status == 200

    def test_below_a_base_domain_are_names(self, scripted: Scripted) -> None:
        source = scripted.start(answer("{}"))
        for site in ("169.254.169.254", "evil.com", "localhost", "127.0.0.1"):
            get(site, source_url="http://{subdomain}.civic.example", source_connect=source.address)
        assert [asked.headers["Host"] for asked in source.asked] == [
            "169.254.169.254.civic.example",
            "evil.com.civic.example",
            "localhost.civic.example",
            "127.0.0.1.civic.example",
        ]


class TestLoopback:
    def test_is_reached_where_the_settings_name_it(self, scripted: Scripted) -> None:
        source = scripted.start(answer("{}"))
        port = source.port
        for settings in (
            {"source_url": f"http://{{subdomain}}.localhost:{port}"},
            {"source_connect": f"127.0.0.1:{port}", "source_url": "http://{subdomain}.civic.band"},
            {"source_connect": f"localhost:{port}", "source_url": "http://{subdomain}.civic.band"},
        ):
            assert get(**settings).status == 200
        assert len(source.asked) == 3

    def test_is_not_reached_where_only_a_name_says_so(self, scripted: Scripted) -> None:
        source = scripted.start(answer("{}"))
        url = f"http://{{subdomain}}.civic.example:{source.port}"
        names = Names([["127.0.0.1"]])
        assert refused(source_url=url, resolve=names).reason == "refused"
        assert source.asked == []
        assert get(source_url=url, resolve=names, source_private=True).status == 200

    def test_is_all_that_is_reached_below_localhost(self, scripted: Scripted) -> None:
        source = scripted.start(answer("{}"))
        names = Names([["1.1.1.1"]])
        assert get(source_url=source.source_url, resolve=names).status == 200
        assert names.asked == []

    def test_is_no_other_machine(self) -> None:
        route = Route(None, loopback=True, private=False)
        assert route.permits(ipaddress.ip_address("127.0.0.1"))
        assert not route.permits(ipaddress.ip_address("10.0.0.1"))

    def test_permits_nothing_else_that_is_private(self, internet: Internet) -> None:
        settings = {"source_url": internet.source_url, "source_connect": "10.0.0.1:80"}
        assert refused(**settings).reason == "refused"
        assert internet.dialled == []
        get(**settings, source_private=True)
        assert internet.dialled == ["10.0.0.1"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["http://{}/", "//{}/", "http://169.254.169.254/latest/", "/x"])
def test_no_redirect_is_followed(scripted: Scripted, status: int, where: str) -> None:
    elsewhere = scripted.start(answer("{}"))
    source = scripted.start(redirect(where.format(elsewhere.address), status), answer("{}"))
    with client(source_url=source.source_url) as http:
        assert http.get("alameda.ca", "/", {}).status == status
    assert len(source.asked) == 1
    assert elsewhere.asked == []


class TestSeveralAddresses:
    def test_are_dialled_in_turn(self, internet: Internet) -> None:
        internet.silent = {"1.1.1.1"}
        names = Names([["1.1.1.1", "8.8.8.8", "9.9.9.9"]])
        assert get(source_url=internet.source_url, resolve=names).status == 200
        assert internet.dialled == ["1.1.1.1", "8.8.8.8"]

    def test_share_the_time_there_is(self, internet: Internet) -> None:
        internet.silent = {"1.1.1.1", "8.8.8.8"}
        names = Names([["1.1.1.1", "8.8.8.8"]])
        error = refused(source_url=internet.source_url, resolve=names, source_connect_timeout=8)
        assert error.reason == "timeout"
        assert internet.timeouts[0] <= 4
        assert internet.timeouts[1] <= 8

    def test_share_the_deadline(self, internet: Internet) -> None:
        internet.silent = {"1.1.1.1"}
        names = Names([["1.1.1.1"]])
        refused(source_url=internet.source_url, resolve=names, source_deadline=3)
        assert internet.timeouts[0] <= 3


class TestNames:
    def test_that_are_never_resolved_end_with_the_deadline(self) -> None:
        released = threading.Event()

        def never(_: str) -> Sequence[str]:
            released.wait(60)
            return ["1.1.1.1"]

        began = time.monotonic()
        try:
            for name in ("source_deadline", "source_connect_timeout"):
                limit: dict[str, Any] = {name: 0.3}
                error = refused(
                    source_url="http://{subdomain}.civic.example", resolve=never, **limit
                )
                assert error.reason == "timeout"
                assert "not resolved in time" in str(error)
        finally:
            released.set()
        assert time.monotonic() - began < 10

    def test_that_do_not_exist_are_unreachable(self) -> None:
        def unknown(_: str) -> Sequence[str]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        error = refused(source_url="http://{subdomain}.civic.example", resolve=unknown)
        assert error.reason == "unreachable"
        assert "Name or service not known" in str(error)

    def test_that_have_no_address_are_unreachable(self) -> None:
        error = refused(source_url="http://{subdomain}.civic.example", resolve=Names([[]]))
        assert error.reason == "unreachable"

    def test_that_nobody_can_have_end_in_time(self) -> None:
        """By the system's own resolver, which may find out or may have nobody to ask."""
        began = time.monotonic()
        error = refused(source_url="http://{subdomain}.civic.invalid", source_deadline=5)
        assert error.reason in {"unreachable", "timeout"}
        assert time.monotonic() - began < 15

    def test_that_are_too_long_are_unreachable(self) -> None:
        with pytest.raises(OSError, match="no host's name"):
            dialling.resolve("a" * 64 + ".example")
