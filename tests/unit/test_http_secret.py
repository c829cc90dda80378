"""To whom the door to the web gives the service secret, and whom it trusts."""

import logging
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme
from fix_http import client, get, refused
from fix_scripted_source import (
    Scripted,
    answer,
    hang_up,
)
from pydantic import SecretStr
from structlog.testing import capture_logs

import runtime.http
from runtime.errors import ConfigurationError, SourceError

SECRET = "correct-horse-battery"  # noqa: S105 - a secret of this test alone


class TestSecret:
    def test_goes_to_loopback(self, scripted: Scripted) -> None:
        source = scripted.start(answer("{}"))
        get(source_url=source.source_url, source_secret=SECRET)
        assert source.asked[0].headers["X-Service-Secret"] == SECRET

    def test_goes_nowhere_else_without_tls(
        self, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runtime.http, "is_loopback", lambda _: False)
        source = scripted.start(answer("{}"))
        with (
            capture_logs() as logs,
            client(source_url=source.source_url, source_secret=SECRET, source_private=True) as http,
        ):
            assert http.get("alameda.ca", "/", {}).status == 200
            assert not http.sends_secret
        assert [log["event"] for log in logs] == ["secret_withheld"]
        assert SECRET not in str(logs)
        assert SECRET not in str(source.asked)

    @pytest.mark.parametrize(
        ("settings", "sent"),
        [
            ({"source_url": "https://{subdomain}.civic.example"}, True),
            ({"source_url": "http://{subdomain}.civic.example"}, False),
            ({"source_url": "http://{subdomain}.localhost"}, True),
            (
                {
                    "source_url": "http://{subdomain}.civic.example",
                    "source_connect": "10.1.2.3:80",
                },
                False,
            ),
            (
                {"source_url": "http://{subdomain}.localhost", "source_connect": "10.1.2.3:80"},
                False,
            ),
            (
                {
                    "source_url": "http://{subdomain}.civic.example",
                    "source_connect": "[::1]:80",
                },
                False,
            ),
            (
                {"source_url": "http://{subdomain}.localhost", "source_connect": "[::1]:80"},
                True,
            ),
        ],
    )
    def test_is_judged_by_both_ends_of_a_tunnel(self, settings: dict[str, Any], sent: bool) -> None:  # noqa: FBT001 - a column of the table above
        with client(source_secret=SECRET, **settings) as http:
            assert http.sends_secret is sent

    @pytest.mark.parametrize("reply", [answer("{}"), answer(status=500), hang_up()])
    def test_is_in_no_log_and_no_message(
        self, scripted: Scripted, caplog: pytest.LogCaptureFixture, reply: Callable[..., None]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        source = scripted.start(reply)
        with client(source_url=source.source_url, source_secret=SECRET) as http:
            shown = [repr(http), str(vars(http))]
            try:
                shown.append(repr(http.get("alameda.ca", "/", {})))
            except SourceError as error:
                shown += [repr(error), str(error), str(error.received)]
        assert source.asked[0].headers["X-Service-Secret"] == SECRET
        assert caplog.records
        assert SECRET not in caplog.text + "".join(shown)

    @pytest.mark.parametrize("end", ["\n", " ", "ü", "\0"])
    def test_that_no_header_can_carry_is_refused_unsaid(self, end: str) -> None:
        with (
            pytest.raises(ConfigurationError, match="PAGESTREAM_SOURCE_SECRET") as caught,
            client(source_secret=SecretStr(SECRET + end)),
        ):
            pass
        assert SECRET not in str(caught.value)

    def test_that_is_empty_is_none(self, scripted: Scripted) -> None:
        source = scripted.start(answer("{}"))
        with client(source_url=source.source_url, source_secret="") as http:
            http.get("alameda.ca", "/", {})
            assert not http.sends_secret
        assert "X-Service-Secret" not in source.asked[0].headers


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def served_by(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


class TestTls:
    URL = "https://{subdomain}.civic.example"

    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
    def test_trusts_whom_the_environment_names(
        self,
        scripted: Scripted,
        authority: trustme.CA,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
    ) -> None:
        source = scripted.start(answer("{}"), tls=served_by(authority, "*.ca.civic.example"))
        with authority.cert_pem.tempfile() as bundle:
            for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv(variable, bundle)
            get(source_url=self.URL, source_connect=source.address, source_secret=SECRET)
        assert source.server_names == ["alameda.ca.civic.example"]
        assert source.asked[0].headers["Host"] == "alameda.ca.civic.example"
        assert source.asked[0].headers["X-Service-Secret"] == SECRET

    def test_says_nothing_to_a_stranger(self, scripted: Scripted, authority: trustme.CA) -> None:
        source = scripted.start(answer("{}"), tls=served_by(authority, "*.ca.civic.example"))
        error = refused(source_url=self.URL, source_connect=source.address, source_secret=SECRET)
        assert error.reason == "tls"
        assert source.asked == []

    def test_says_nothing_to_somebody_else(
        self, scripted: Scripted, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = scripted.start(answer("{}"), tls=served_by(authority, "evil.example"))
        with authority.cert_pem.tempfile() as bundle:
            monkeypatch.setenv("SSL_CERT_FILE", bundle)
            error = refused(
                source_url=self.URL, source_connect=source.address, source_secret=SECRET
            )
        assert error.reason == "tls"
        assert source.asked == []

    def test_names_the_file_that_cannot_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authorities.pem")
        with pytest.raises(ConfigurationError, match="/nowhere/authorities"), client():
            pass
