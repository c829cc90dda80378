"""The walker's process: check every dependency, then walk until told to stop."""

from producer.fetching import Download
from producer.solitude import check_alone, must_be_alone
from producer.timers import Clock, utc_now
from producer.walker import Walker, group_name, slot_name
from runtime.health import Readiness
from runtime.kafka.cluster import Cluster
from runtime.lifecycle import StopSignal, slot_lock
from runtime.logs import logger
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.topics import COMMANDS


def run(
    settings: Settings,
    download: Download,
    stop: StopSignal,
    metrics: Metrics,
    readiness: Readiness,
    clock: Clock = utc_now,
) -> None:
    """Walk until `stop`; raises Stop when a dependency is missing or another process has the slot.

    `download` asks the source for one command's response, and is called from several threads.
    `clock` tells the time of day.
    """
    slot = slot_name(settings)
    with slot_lock(settings.state_directory / "slots", slot):
        cluster = Cluster(settings)
        topic_ids = cluster.check_topics()
        commands_id = topic_ids[COMMANDS.name]
        if must_be_alone(settings):
            check_alone(cluster, group_name(settings), slot, stop)
        walker = Walker(settings, cluster, commands_id, download, metrics, readiness, clock)
        readiness.started()
        logger("walker").info("walker_started", slot=settings.walker_slot, kafka=settings.kafka)
        walker.run(stop)
        logger("walker").info("walker_stopped", slot=settings.walker_slot)
