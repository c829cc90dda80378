"""The walker's process: check every dependency, then walk until told to stop."""

from producer.fetching import Fetch
from producer.walker import Walker
from runtime.health import Readiness
from runtime.kafka.cluster import Cluster
from runtime.lifecycle import StopSignal, slot_lock
from runtime.logs import logger
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.topics import COMMANDS


def run(
    settings: Settings,
    fetch: Fetch,
    stop: StopSignal,
    metrics: Metrics,
    readiness: Readiness,
) -> None:
    """Walk until `stop`; raises Stop when a dependency is missing or another process has the slot.

    `fetch` asks the source for one step's response; it is called from several threads.
    """
    lock = slot_lock(
        settings.state_directory / "slots", f"{settings.topic_prefix}.{settings.walker_slot}"
    )
    with lock:
        cluster = Cluster(settings)
        topic_ids = cluster.check_topics()
        commands_id = topic_ids[COMMANDS.name]
        walker = Walker(settings, cluster, commands_id, fetch, metrics, readiness)
        readiness.started()
        logger("walker").info("walker_started", slot=settings.walker_slot, kafka=settings.kafka)
        walker.run(stop)
        logger("walker").info("walker_stopped", slot=settings.walker_slot)
