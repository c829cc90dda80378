"""The door to the web: the one client that asks sources, and the only module that uses httpx."""

import os
import ssl
import time
from collections.abc import Iterable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal
from urllib.parse import urlencode

import httpcore
import httpx
import msgspec
from pydantic import SecretStr

from runtime import dialling
from runtime.dialling import Deadline, Dialler, Resolve, Route, is_loopback
from runtime.errors import ConfigurationError, SourceError
from runtime.headers import retry_after
from runtime.inflating import inflated
from runtime.logs import logger
from runtime.secrets import Secrets, sendable
from runtime.settings import Settings
from schemas.tables import is_site

Reason = Literal[
    "timeout",
    "unreachable",
    "tls",
    "too_large",
    "rate_limited",
    "refused",
    "no_such_site",
    "not_found",
    "server_error",
    "interrupted",
    "broken_response",
]
"""Why the source gave no usable response: the closed list of `SourceError.reason`."""

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""The most that a response may hold once decompressed: ten times the largest seen."""

MAX_ERROR_BYTES: Final = 16 * 1024
"""How much is read of a response whose status is not 200: enough to see what it says."""

VENDOR_ERRORS: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    httpx.StreamError,
    OSError,
    UnicodeError,
)
"""What can come out of httpx: its four families, and what it lets through of sockets and hosts."""

_HTTP_OK: Final = 200
_EXCERPT: Final = 200
# Shorter than any server's own, so that no request is sent into a connection being closed.
_KEEPALIVE_SECONDS: Final = 2.0


class Received(msgspec.Struct, frozen=True):
    """What came back: the body is whole and decompressed for a 200, else its beginning.

    `retry_after` is in how many seconds the source wants to be asked again, if it says so.
    """

    status: int
    content_type: str
    body: bytes
    retry_after: float | None = None

    @property
    def excerpt(self) -> str:
        """The first 200 characters, for a person to read; never holds NUL."""
        return excerpt(self.body)


def excerpt(body: bytes) -> str:
    """Return the first 200 characters of a body, whatever it holds, as storable text."""
    return body[: 4 * _EXCERPT].decode(errors="replace")[:_EXCERPT].replace("\0", "\ufffd")


def failure(
    reason: Reason,
    message: str,
    *,
    received: str | None = None,
    retry_after: float | None = None,
) -> SourceError:
    """Return the SourceError of one of the known reasons."""
    return SourceError(reason, message, received=received, retry_after=retry_after)


def source_error(error: Exception, asked: str) -> SourceError:
    """Return what one of VENDOR_ERRORS means; `asked` names the host that was asked."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return failure("timeout", f"{asked} took too long: {_say(error)}")
    if _is_tls(error):
        return failure("tls", f"no trusted connection to {asked}: {_say(error)}")
    if isinstance(error, httpx.NetworkError | httpx.ProxyError | OSError):
        return failure("unreachable", f"{asked} cannot be reached: {_say(error)}")
    return failure("broken_response", f"{asked} broke the protocol: {_say(error)}")


def _say(error: Exception) -> str:
    return f"{type(error).__name__} {error}".rstrip()


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


class _Transport(httpx.HTTPTransport):
    """httpx's transport over a pool that dials through our own backend.

    httpx has no public argument for the backend; the pool and its argument are httpcore's public
    ones. Without this no limit holds for a whole request: httpx's are per read.
    """

    def __init__(self, dialler: Dialler, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=20,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=dialler,
        )


class _Template(msgspec.Struct, frozen=True):
    """The parts of `source_url`; `base` is the base domain with its leading dot."""

    scheme: str
    base: str
    port: int | None
    path: str


def _template(source_url: str) -> _Template:
    try:
        url = httpx.URL(source_url.replace("{subdomain}", "site"))
        base = url.raw_host.decode().removeprefix("site")
        usable = base.startswith(".") and is_site(base[1:])
    except (httpx.InvalidURL, UnicodeError):
        usable = False
    if not usable or url.query or url.fragment:
        raise ConfigurationError(
            "source_url does not name a site below a base domain",
            remedy="set PAGESTREAM_SOURCE_URL like https://{subdomain}.civic.band",
        )
    return _Template(url.scheme, base, url.port, url.path.rstrip("/"))


def _address(source_connect: str | None) -> tuple[str, int] | None:
    if source_connect is None:
        return None
    host, _, port = source_connect.rpartition(":")
    if not 0 < int(port) <= 65_535:  # noqa: PLR2004 - the greatest TCP port
        raise ConfigurationError(
            f"source_connect {source_connect!r} has no such port",
            remedy="set PAGESTREAM_SOURCE_CONNECT to host:port",
        )
    return host.strip("[]"), int(port)


def _trust() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or those the environment names."""
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
    try:
        return ssl.create_default_context(cafile=named)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the certificate authorities in {named}: {error}",
            remedy="correct SSL_CERT_FILE or REQUESTS_CA_BUNDLE",
        ) from error


def _user_agent() -> str:
    try:
        release = version("pagestream")
    except PackageNotFoundError:  # run from a source tree
        release = "dev"
    return f"pagestream/{release} (+keeps a PostgreSQL copy of Datasette sites)"


def _no_cookies() -> CookieJar:
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


class HttpClient:
    """Asks sites below one base domain; safe to use from many threads.

    `loopback` tells whether both the host that is asked for and what is dialled are this machine: a
    tunnel's end on loopback is not the source. `sends_secret` tells whether requests carry the
    service secret: only over https, or to loopback. `resolve` gives the addresses of a name.
    ConfigurationError for unusable settings.
    """

    def __init__(self, settings: Settings, resolve: Resolve = dialling.resolve) -> None:
        self._template = _template(settings.source_url)
        address = _address(settings.source_connect)
        named = self._template.base if address is None else address[0]
        self.loopback: Final = is_loopback(self._template.base) and is_loopback(named)
        self._secret = sendable(settings.source_secret)
        self._secrets = Secrets(settings)
        self._confidential = self._template.scheme == "https" or self.loopback
        self.sends_secret: Final = self._secret is not None and self._confidential
        self._source_url = settings.source_url
        self._withheld: set[str | None] = set()
        if self._secret is not None and not self._confidential:
            self._withhold(None)
        self._deadline = Deadline()
        self._seconds = settings.source_deadline
        route = Route(address, is_loopback(named), settings.source_private)
        self._client = httpx.Client(
            transport=_Transport(Dialler(route, self._deadline, resolve), _trust()),
            headers={"User-Agent": _user_agent(), "Accept-Encoding": "gzip"},
            timeout=httpx.Timeout(
                settings.source_read_timeout, connect=settings.source_connect_timeout
            ),
            cookies=_no_cookies(),
            follow_redirects=False,
            trust_env=False,
        )

    def get(
        self, site: str, path: str, query: Mapping[str, str], secret: str | None = None
    ) -> Received:
        """Return what `site` answers, whatever the status; SourceError when nothing whole came.

        `secret` names the site's own secret, sent instead of everybody's. It takes
        `source_deadline` seconds at most.
        """
        url = self._url(site, path, query)
        value = self._secret_to_send(secret)
        headers = {} if value is None else {"X-Service-Secret": value.get_secret_value()}
        self._deadline.at = time.monotonic() + self._seconds
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                return _receive(response)
        except VENDOR_ERRORS as error:
            raise source_error(error, url.netloc.decode()) from error

    def carries_secret(self, secret: str | None) -> bool:
        """Tell whether a request carries a secret: the named one, or everybody's for None.

        SourceError when it should, and there is none of that name.
        """
        return self._secret_to_send(secret) is not None

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _secret_to_send(self, name: str | None) -> SecretStr | None:
        if name is None:
            return self._secret if self.sends_secret else None
        if self._confidential:
            return self._secrets.named(name)
        self._withhold(name)
        return None

    def _withhold(self, name: str | None) -> None:
        """Say once of each secret that it would go over the network for all to read."""
        if name not in self._withheld:
            self._withheld.add(name)
            logger("http").warning("secret_withheld", source_url=self._source_url, name=name)

    def _url(self, site: str, path: str, query: Mapping[str, str]) -> httpx.URL:
        template = self._template
        if not is_site(site):
            raise failure("no_such_site", f"{site!r} is not a site's name: nothing was asked")
        host = site + template.base
        try:
            url = httpx.URL(
                scheme=template.scheme,
                host=host,
                port=template.port,
                path=template.path + path,
                query=urlencode(query).encode(),
            )
        except VENDOR_ERRORS as error:
            raise source_error(error, host) from error
        if url.raw_host != host.encode() or url.userinfo:
            raise failure("no_such_site", f"{url} is not below {template.base[1:]}")
        return url


def _receive(response: httpx.Response) -> Received:
    content_type = response.headers.get("content-type", "")
    whole = response.status_code == _HTTP_OK
    body = _whole_body(response) if whole else _beginning(response)
    return Received(response.status_code, content_type, body, retry_after(response.headers))


def _whole_body(response: httpx.Response) -> bytes:
    body = bytearray()
    for part in _parts(response):
        body += part
        if len(body) > MAX_BODY_BYTES:
            received = excerpt(bytes(body[: 4 * _EXCERPT]))
            # An error lives on with the frames that it came through: not with 32 MB in them.
            body.clear()
            raise failure(
                "too_large",
                f"{_asked(response)} sent more than {MAX_BODY_BYTES} bytes",
                received=received,
            )
    return bytes(body)


def _beginning(response: httpx.Response) -> bytes:
    """Return the first of the body: the status counts, even when its body breaks off."""
    body = bytearray()
    try:
        for part in _parts(response):
            body += part
            if len(body) >= MAX_ERROR_BYTES:
                break
    except (SourceError, *VENDOR_ERRORS) as error:
        logger("http").debug("error_body_lost", error=type(error).__name__)
    return bytes(body[:MAX_ERROR_BYTES])


def _parts(response: httpx.Response) -> Iterable[bytes]:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    return inflated(response.iter_raw(), encoding, _asked(response), MAX_BODY_BYTES)


def _asked(response: httpx.Response) -> str:
    return response.url.netloc.decode()
