"""Fixtures for an operator's resets: two walks that are applied, and records of any age."""

from datetime import datetime, timedelta

import pytest
from confluent_kafka import Producer
from fix_sink import SinkRig, wait_until
from samples import SITE, gone, now, page, sent

from runtime.kafka.records import Partition
from schemas.records import WalkBarrier
from schemas.tables import Table

PLACE = Table(SITE, "minutes").partition
LIFE = timedelta(days=31)
PAGES = 124
"""The records of two walks."""


def publish_walk(rig: SinkRig, walk: int, edited: str = "") -> None:
    rig.publish(
        *(page(f"{number:03}", walk=walk, text=f"{number}{edited}") for number in range(60)),
        gone("001", walk=walk),
        WalkBarrier(site=SITE, kind="minutes", number=walk, walk=walk, at=now()),
    )


def publish_aged(rig: SinkRig, age: timedelta) -> None:
    """Publish a page after two walks, in a transaction, as if it had been there for so long."""
    producer = Producer(
        {"bootstrap.servers": rig.settings.kafka, "transactional.id": rig.settings.topic_prefix}
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    made = sent(page("aged", walk=3))
    producer.produce(
        f"{rig.settings.topic_prefix}.pages",
        key=made.key,
        value=made.value,
        partition=made.partition,
        headers=dict[str, str | bytes | None](made.headers),
        timestamp=int((datetime.now().astimezone() - age).timestamp() * 1000),
    )
    producer.commit_transaction(20)
    place = Partition("pages", PLACE)
    wait_until(lambda: rig.cluster.ends([place])[place] == PAGES + 2, "its marker")


@pytest.fixture
def walked_sink(sink_rig: SinkRig) -> SinkRig:
    """Two walks, applied, in a group that never had a member."""
    publish_walk(sink_rig, 1)
    publish_walk(sink_rig, 2, edited="!")
    sink_rig.apply_published()
    return sink_rig
