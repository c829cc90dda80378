"""Following the walks' states on a real log: every change counts, not the newest alone."""

from collections.abc import Sequence

import pytest
from fix_services import KafkaCorner

from pagestream.backfilling import FollowedWalk, Stored, follow, result_of
from pagestream.walks import StateFollower, following
from runtime.kafka.cluster import Cluster
from runtime.kafka.publisher import Publisher
from runtime.kafka.records import outgoing
from runtime.settings import Settings
from schemas.tables import Table
from schemas.topics import WALKS
from schemas.walks import FollowUp, Position, Status, WalkState

TABLE = Table("alameda.ca", "minutes")


class StoredUpTo:
    """A database in which all is stored up to a barrier."""

    def __init__(self, barrier: int) -> None:
        self.barrier = barrier

    def read(self, walks: Sequence[tuple[Table, int]]) -> dict[Table, Stored]:
        return {table: Stored(created=100, barrier=self.barrier) for table, _ in walks}


def state(number: int, status: Status, pages: int, barrier: int) -> WalkState:
    under_way = Position(phase="pages") if status in ("in_progress", "failed") else None
    return WalkState(
        site=TABLE.site,
        kind=TABLE.kind,
        walk=number,
        status=status,
        pages=pages,
        barrier=barrier,
        position=under_way,
        follow_up=FollowUp(mode="full", rows=1000) if status == "failed" else None,
        error="no answer in 30 s" if status == "failed" else None,
    )


@pytest.fixture
def settings(kafka: KafkaCorner) -> Settings:
    settings = Settings(kafka=kafka.bootstrap, topic_prefix=kafka.prefix)
    Cluster(settings).create_topics()
    return settings


def publish(settings: Settings, *states: WalkState) -> None:
    records = [outgoing(WALKS, TABLE.key, TABLE.partition, state) for state in states]
    Publisher(settings).publish(records)


def followed_to_its_end(walk: FollowedWalk, follower: StateFollower, barrier: int) -> None:
    for turn, _ in enumerate(follow([walk], follower, StoredUpTo(barrier), 0.2)):
        assert turn < 100, "it should have ended"


def test_an_end_that_comes_together_with_the_next_beginning_is_seen(settings: Settings) -> None:
    before = state(1, "in_progress", 10, 0)
    publish(settings, before)
    with following(settings, Cluster(settings)) as follower:
        walk = FollowedWalk(follower.states[TABLE], waits=True)
        publish(
            settings,
            *(state(1, "unverified", 90, 1), state(2, "in_progress", 0, 1)),
            *(state(2, "unverified", 100, 2), state(3, "in_progress", 0, 2)),
        )
        followed_to_its_end(walk, follower, barrier=2)
    assert (result_of(walk).status, result_of(walk).pages) == ("unverified", 100)


def test_nobody_waits_for_ever_behind_a_walk_that_failed(settings: Settings) -> None:
    publish(settings, state(1, "in_progress", 10, 0))
    with following(settings, Cluster(settings)) as follower:
        walk = FollowedWalk(follower.states[TABLE], waits=True)
        publish(settings, state(1, "failed", 10, 0))
        followed_to_its_end(walk, follower, barrier=0)
    assert walk.failed
    assert result_of(walk).error == "it waits behind walk 1, which is failed: no answer in 30 s"
