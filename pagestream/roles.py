"""The roles' entry points: what each process is made of, from its settings to its loop."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import consumers.sink.loop
import producer.role
from pagestream.access import check_kafka_listens
from producer.datasette.client import DatasetteSource
from runtime import logs
from runtime.health import HealthServer, Readiness
from runtime.lifecycle import StopSignal
from runtime.memory import share_one_arena
from runtime.metrics import Metrics
from runtime.settings import Settings

Role = Literal["walker", "sink"]

Loop = Callable[[Settings, StopSignal, Metrics, Readiness], None]


def _walk(settings: Settings, stop: StopSignal, metrics: Metrics, readiness: Readiness) -> None:
    # Before the first of the threads that hold responses. A sink gains nothing by it: measured.
    share_one_arena()
    source = DatasetteSource(settings, metrics, stop, readiness=readiness)
    try:
        producer.role.run(settings, source.download, stop, metrics, readiness)
    finally:
        source.close()


_LOOPS: Final[Mapping[Role, Loop]] = {"walker": _walk, "sink": consumers.sink.loop.run}


def run_role(role: Role, settings: Settings) -> None:
    """Be this role until SIGTERM or SIGINT; raises Stop when it cannot be.

    Logs, then signals, then health, then Kafka and the role's own checks, then its loop.
    """
    logs.configure(settings)
    # Secrets are written as asterisks.
    logs.logger(role).info("settings", **settings.model_dump(mode="json"))
    stop = StopSignal()
    stop.install()
    metrics, readiness = Metrics(), Readiness()
    with HealthServer(settings, metrics, readiness):
        check_kafka_listens(settings)
        _LOOPS[role](settings, stop, metrics, readiness)
