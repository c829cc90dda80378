"""Health: whether a role is ready, with the reason in words, served beside its metrics."""

import json
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from runtime.errors import ConfigurationError
from runtime.logs import logger
from runtime.metrics import Metrics
from runtime.settings import Settings

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Readiness:
    """A role's word on whether it can do its work now; safe to use from several threads.

    A role is red from the start, and whenever one of its `causes` is set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._causes: dict[str, str] = {"start": "still starting"}

    def started(self) -> None:
        """Say that every dependency was checked and the work has begun."""
        self.clear("start")

    def red(self, cause: str, reason: str) -> None:
        """Turn red for `cause`, a stable word; `reason` is a sentence for a person."""
        with self._lock:
            self._causes[cause] = reason

    def clear(self, cause: str) -> None:
        """Say that `cause` has passed; harmless when it was not set."""
        with self._lock:
            self._causes.pop(cause, None)

    def reasons(self) -> list[str]:
        """Return every reason to be red, in words; empty means ready."""
        with self._lock:
            return list(self._causes.values())


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each client in a thread of its own: one that says nothing holds up no probe."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - its
        """Say that a client broke off, to who asks for it."""
        logger("health").debug("probe_interrupted", client=str(client_address), exc_info=True)


class _Quiet(WSGIRequestHandler):
    timeout = 10.0

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is wsgiref's
        """Say nothing: a probe every few seconds is no event."""


class HealthServer:
    """Serves one role's /metrics, /healthz (alive) and /readyz (ready, or 503 with the reasons)."""

    def __init__(self, settings: Settings, metrics: Metrics, readiness: Readiness) -> None:
        self._readiness = readiness
        self._metrics_app = make_wsgi_app(metrics.registry)
        self._server: WSGIServer | None = None
        self._address = (settings.health_host, settings.health_port)

    @property
    def port(self) -> int | None:
        """The port served on, or None when `health_port` is unset."""
        return None if self._server is None else self._server.server_port

    def __enter__(self) -> Self:
        host, port = self._address
        if port is None:
            return self
        try:
            self._server = make_server(host, port, self._respond, _Server, _Quiet)
        except OSError as error:
            raise ConfigurationError(
                f"cannot serve health on {host}:{port}: {error.strerror}",
                remedy="set PAGESTREAM_HEALTH_HOST and PAGESTREAM_HEALTH_PORT to what is free here",
            ) from error
        serve, how = self._server.serve_forever, {"poll_interval": 0.1}
        threading.Thread(target=serve, kwargs=how, name="health", daemon=True).start()
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _respond(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            body: Iterable[bytes] = self._metrics_app(environ, start)
            return body
        if path == "/healthz":
            return _json(start, "200 OK", {"alive": True})
        if path == "/readyz":
            reasons = self._readiness.reasons()
            status = "503 Service Unavailable" if reasons else "200 OK"
            return _json(start, status, {"ready": not reasons, "reasons": reasons})
        return _json(start, "404 Not Found", {"paths": ["/metrics", "/healthz", "/readyz"]})


def _json(start: StartResponse, status: str, body: dict[str, object]) -> list[bytes]:
    start(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]
