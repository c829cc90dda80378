"""Health: what a probe is told, over real HTTP."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import pytest

from runtime.errors import ConfigurationError
from runtime.health import HealthServer, Readiness
from runtime.metrics import Metrics
from runtime.settings import Settings, load

HOST: Final = "127.0.0.1"
SECONDS: Final = 10.0


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.chdir(tmp_path)
    return load(health_port=0, health_host=HOST)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
def port(settings: Settings, metrics: Metrics, readiness: Readiness) -> Iterator[int]:
    with HealthServer(settings, metrics, readiness) as server:
        assert server.port
        yield server.port


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection(HOST, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def get_json(port: int, path: str) -> tuple[int, Any]:
    status, body = get(port, path)
    return status, json.loads(body)


def test_a_role_is_red_until_it_has_started(port: int, readiness: Readiness) -> None:
    assert get_json(port, "/readyz") == (503, {"ready": False, "reasons": ["still starting"]})

    readiness.started()
    assert get_json(port, "/readyz") == (200, {"ready": True, "reasons": []})


def test_a_role_is_red_for_every_cause_that_has_not_passed(port: int, readiness: Readiness) -> None:
    readiness.started()
    readiness.red("database", "PostgreSQL does not answer")
    readiness.red("database", "PostgreSQL is full")
    readiness.red("assignment", "no partitions were assigned yet")
    assert get_json(port, "/readyz") == (
        503,
        {"ready": False, "reasons": ["PostgreSQL is full", "no partitions were assigned yet"]},
    )

    readiness.clear("database")
    readiness.clear("never set")
    assert readiness.reasons() == ["no partitions were assigned yet"]

    readiness.clear("assignment")
    assert get_json(port, "/readyz")[0] == 200


def test_a_role_that_is_not_ready_is_alive_all_the_same(port: int) -> None:
    assert get_json(port, "/readyz")[0] == 503
    assert get_json(port, "/healthz") == (200, {"alive": True})


def test_metrics_are_served_as_they_are_now(port: int, metrics: Metrics) -> None:
    metrics.add("pagestream_pages_published", 3)
    assert "pagestream_pages_published_total 3.0" in get(port, "/metrics")[1]

    metrics.add("pagestream_pages_published", 4)
    assert "pagestream_pages_published_total 7.0" in get(port, "/metrics")[1]


def test_another_path_is_told_which_there_are(port: int) -> None:
    status, body = get_json(port, "/")
    assert status == 404
    assert body == {"paths": ["/metrics", "/healthz", "/readyz"]}


def test_a_client_that_says_nothing_holds_up_no_probe(port: int) -> None:
    with socket.create_connection((HOST, port), timeout=SECONDS):
        assert get_json(port, "/healthz") == (200, {"alive": True})


def test_nothing_is_served_without_a_port(settings: Settings) -> None:
    unset = settings.model_copy(update={"health_port": None})
    with HealthServer(unset, Metrics(), Readiness()) as server:
        assert server.port is None


def test_a_port_in_use_is_one_clear_line(settings: Settings, port: int) -> None:
    taken = settings.model_copy(update={"health_port": port})
    with (
        pytest.raises(ConfigurationError, match=f"{HOST}:{port}: Address already in use") as caught,
        HealthServer(taken, Metrics(), Readiness()),
    ):
        pass
    assert "PAGESTREAM_HEALTH_PORT" in str(caught.value)


def test_a_host_that_is_not_here_is_one_clear_line(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"health_host": "192.0.2.1"})
    with (
        pytest.raises(ConfigurationError, match=r"192\.0\.2\.1") as caught,
        HealthServer(elsewhere, Metrics(), Readiness()),
    ):
        pass
    assert "PAGESTREAM_HEALTH_HOST" in str(caught.value)


def test_the_port_is_free_again_afterwards(settings: Settings) -> None:
    with HealthServer(settings, Metrics(), Readiness()) as server:
        port = server.port
    again = settings.model_copy(update={"health_port": port})
    with HealthServer(again, Metrics(), Readiness()) as server:
        assert server.port == port
