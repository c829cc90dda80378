"""One walker alone, where the source's limit holds: each would ask as often as all together may."""

import time
from typing import Final

from producer.pacing import requests_per_minute
from runtime.errors import ConfigurationError
from runtime.http import HttpClient
from runtime.kafka.cluster import Cluster
from runtime.lifecycle import StopSignal
from runtime.settings import Settings
from schemas.tables import PARTITIONS

_SESSION_SECONDS: Final = 8.0
"""A member that died is a member for so long, at the most."""

_LOOK_AGAIN_SECONDS: Final = 0.5


def must_be_alone(settings: Settings) -> bool:
    """Tell whether the source's own limit holds; one that was set is each walker's own."""
    if settings.requests_per_minute is not None:
        return False
    http = HttpClient(settings)
    try:
        return requests_per_minute(settings, http) is not None
    finally:
        http.close()


def check_alone(cluster: Cluster, group: str, slot: str, stop: StopSignal) -> None:
    """Raise ConfigurationError when another than `slot` is, and stays, a member of the group."""
    deadline = time.monotonic() + _SESSION_SECONDS
    while others := _others(cluster, group, slot):
        if time.monotonic() > deadline:
            raise _accompanied(f"{others} in group {group}")
        if stop.wait(_LOOK_AGAIN_SECONDS):
            return


def _others(cluster: Cluster, group: str, slot: str) -> int:
    return cluster.members(group) - (slot in cluster.slots(group))


def check_share(partitions: int) -> None:
    """Raise ConfigurationError when the first assignment shows others, who joined meanwhile."""
    if partitions < PARTITIONS:
        raise _accompanied(f"with {PARTITIONS - partitions} of {PARTITIONS} partitions")


def _accompanied(how: str) -> ConfigurationError:
    return ConfigurationError(
        f"there are other walkers, {how}: without a service secret all of them together would ask "
        "more often than the source allows",
        remedy="stop them, set PAGESTREAM_SOURCE_SECRET, or set PAGESTREAM_REQUESTS_PER_MINUTE to "
        "each walker's share",
    )
