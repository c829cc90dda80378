"""The door to the web: whom it asks, what it sends, what it believes, and when it gives up."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fix_http import client, get, refused
from fix_scripted_source import (
    Scripted,
    answer,
    redirect,
)

import runtime.http
from runtime.dialling import Deadline, is_loopback
from runtime.errors import ConfigurationError


def test_asks_the_site_by_its_own_name_wherever_it_is_dialled(scripted: Scripted) -> None:
    source = scripted.start(answer("{}"))
    url = "http://{subdomain}.civic.example:8001/data/"
    received = get(source_url=url, source_connect=source.address)
    assert (received.status, received.body) == (200, b"{}")
    (asked,) = source.asked
    assert asked.target == "/data/meetings/minutes.json?_size=10"
    assert asked.headers["Host"] == "alameda.ca.civic.example:8001"


def test_names_itself_and_takes_gzip_only(scripted: Scripted) -> None:
    source = scripted.start(answer("{}"))
    get(source_url=source.source_url)
    headers = source.asked[0].headers
    assert headers["User-Agent"].startswith("pagestream/")
    assert headers["Accept-Encoding"] == "gzip"
    assert "X-Service-Secret" not in headers


def test_quotes_each_value_once(scripted: Scripted) -> None:
    source = scripted.start(answer("{}"))
    tokens = ["0a,0a", "~2F~7E,a b", "%41+%2B", "a&_size=1#x", "~00ü"]
    with client(source_url=source.source_url) as http:
        for token in tokens:
            http.get("alameda.ca", "/x.json", {"_next": token})
    assert [asked.query["_next"] for asked in source.asked] == tokens
    assert all("_size" not in asked.query for asked in source.asked)


@pytest.mark.parametrize(
    "site",
    [
        "evil.com/#",
        "x@evil.com",
        "x@evil.com/",
        "169.254.169.254/latest/#",
        "evil.com:80",
        "evil.com?",
        "evil.com\\",
        "evil.com%2f",
        "Alameda.ca",
        "alameda.ca.",
        ".alameda.ca",
        "alameda..ca",
        "-alameda",
        "alameda_ca",
        "alameda ca",
        "alameda\r\nX-Evil: 1",
        "münchen",
        "evil\u3002com",  # dots that resolvers take for dots
        "evil\uff0ecom",
        "evil\uff61com",
        "\u2170.evil",
        "\u0430lameda",
        "alameda\u200b",
        "٣",
        "ALAMEDA.CA",
        "alameda.CA",
        "alameda.ca..",
        "alameda.ca\n",
        "alameda.ca\t",
        "alameda.ca\0",
        "alameda-.ca",
        "alameda.-ca",
        "*.ca",
        "..",
        "../..",
        "[::1]",
        "::1",
        "evil.com:80@x",
        "evil.com;x",
        "//evil.com",
        "http://evil.com",
        "a" * 64,
        "a." + "b" * 64,
        ".".join(["a" * 50] * 4),
        "",
    ],
)
def test_asks_nothing_of_what_is_no_site(scripted: Scripted, site: str) -> None:
    source = scripted.start(answer("{}"))
    error = refused(
        site, source_url="http://{subdomain}.civic.example", source_connect=source.address
    )
    assert error.reason == "no_such_site"
    assert source.asked == []


def test_checks_the_address_itself_even_when_a_name_slips_through(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = scripted.start(answer("{}"))
    monkeypatch.setattr(runtime.http, "is_site", lambda _: True)
    for site in ("evil.com/#", "x@evil.com/", "169.254.169.254/latest/#", "x@evil.com"):
        error = refused(
            site, source_url="http://{subdomain}.civic.example", source_connect=source.address
        )
        assert error.reason in {"no_such_site", "broken_response"}
    assert source.asked == []


def test_asks_a_site_in_its_encoded_name_if_that_is_one(scripted: Scripted) -> None:
    source = scripted.start(answer("{}"))
    assert refused("xn--0", source_url=source.source_url).reason == "broken_response"
    assert source.asked == []
    get("xn--mnchen-3ya", source_url=source.source_url)
    assert source.asked[0].headers["Host"].startswith("xn--mnchen-3ya.localhost:")


@pytest.mark.parametrize(
    "url",
    [
        "https://{subdomain}",
        "https://{subdomain}.",
        "https://www.{subdomain}.civic.band",
        "https://{subdomain}.civic.band/?a=b",
        "https://{subdomain}.civic.band/#a",
        "https://{subdomain}.civic.band:port",
        "https://{subdomain}civic.band",
        "https://{subdomain}.civic_band",
    ],
)
def test_refuses_a_template_without_a_base_domain(url: str) -> None:
    with (
        pytest.raises(ConfigurationError, match="PAGESTREAM_SOURCE_URL"),
        client(source_url=url),
    ):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.0.0.1:65536"])
def test_refuses_a_port_that_cannot_be(address: str) -> None:
    with (
        pytest.raises(ConfigurationError, match="PAGESTREAM_SOURCE_CONNECT"),
        client(source_connect=address),
    ):
        pass


def test_follows_no_redirect(scripted: Scripted) -> None:
    elsewhere = scripted.start(answer("{}"))
    source = scripted.start(redirect(f"http://{elsewhere.address}/"))
    with client(source_url=source.source_url) as http:
        assert http.get("alameda.ca", "/", {}).status == 302
    assert len(source.asked) == 1
    assert elsewhere.asked == []


def test_uses_no_proxy_of_the_environment(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, source = scripted.start(answer("{}")), scripted.start(answer("{}"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{proxy.address}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    get(source_url="http://{subdomain}.civic.example", source_connect=source.address)
    assert (len(source.asked), proxy.asked) == (1, [])


def test_keeps_no_cookies(scripted: Scripted) -> None:
    source = scripted.start(answer("{}", headers={"Set-Cookie": "a=b; Path=/"}))
    with client(source_url=source.source_url) as http:
        for _ in range(2):
            http.get("alameda.ca", "/", {})
    assert all("Cookie" not in asked.headers for asked in source.asked)


def test_serves_many_threads(scripted: Scripted) -> None:
    source = scripted.start(answer("{}"))
    with client(source_url=source.source_url) as http, ThreadPoolExecutor(8) as pool:
        sites = [f"site-{number % 5}" for number in range(80)]
        statuses = list(pool.map(lambda site: http.get(site, "/", {}).status, sites))
    assert statuses == [200] * 80
    asked = sorted(asked.headers["Host"].partition(".")[0] for asked in source.asked)
    assert asked == sorted(sites)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        (".localhost", True),
        ("alameda.ca.localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost.evil.com", False),
        ("notlocalhost", False),
        ("127.0.0.1.evil.com", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - nothing is bound here
        ("10.0.0.1", False),
        ("::2", False),
        ("civic.band", False),
        ("", False),
    ],
)
def test_knows_loopback(host: str, ours: bool) -> None:  # noqa: FBT001 - a column of the table above
    assert is_loopback(host) is ours


def test_a_deadline_is_of_its_thread_alone() -> None:
    deadline = Deadline()
    deadline.at = 0
    seen: list[float] = []
    thread = threading.Thread(target=lambda: seen.append(deadline.shorten(5, httpx.ReadTimeout)))  # type: ignore[arg-type]  # never raised here
    thread.start()
    thread.join()
    assert seen == [5]
