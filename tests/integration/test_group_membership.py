"""A member that loses its group: what an operator has set meanwhile is not overwritten."""

from contextlib import closing

from fix_services import KafkaCorner
from fix_sink import wait_until

from runtime.kafka.cluster import Cluster
from runtime.kafka.group import GroupConsumer
from runtime.kafka.records import Committed, Partition
from runtime.settings import Settings
from schemas.topics import PAGES

PLACE = Partition(PAGES.name, 7)
QUICK = {"session.timeout.ms": 1000, "heartbeat.interval.ms": 300, "max.poll.interval.ms": 1000}


class Member:
    """Commits whenever it can, and notes what its group had committed when it was assigned."""

    def __init__(self, settings: Settings, group: str) -> None:
        self.found: list[Committed] = []
        self.revoked_times = 0
        self.consumer = GroupConsumer(
            settings, group=group, member="m", topics=(PAGES.name,), ownership=self, tuning=QUICK
        )

    def assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        assert not self.commit(9)
        self.found.append(self.consumer.committed([PLACE], 10)[PLACE])
        return dict.fromkeys(partitions, 0)

    def revoked(self, _partitions: list[Partition]) -> None:
        self.commit(9)
        self.revoked_times += 1

    def commit(self, offset: int) -> bool:
        return self.consumer.commit({PLACE: Committed(offset, "mark")})


def test_a_member_that_was_lost_commits_nothing_before_it_is_assigned_again(
    kafka: KafkaCorner,
) -> None:
    settings = Settings(kafka=kafka.bootstrap, topic_prefix=kafka.prefix, _env_file=None)
    cluster, group = Cluster(settings), f"{kafka.prefix}.group"
    cluster.create_topics()
    member = Member(settings, group)
    with closing(member.consumer):
        wait_until(lambda: member.consumer.poll(0.1) or member.found, "an assignment")
        assert member.commit(5)
        mirrored = {PLACE: Committed(5, "mark")}
        wait_until(lambda: cluster.committed(group, [PLACE]) == mirrored, "the commit")
        wait_until(lambda: not cluster.members(group), "the session of a member that never polls")
        cluster.set_committed(group, {PLACE: Committed(1)})
        while not member.revoked_times:
            member.consumer.poll(0.1)
        while len(member.found) == 1:
            assert not member.commit(9)
            member.consumer.poll(0.01)
        assert member.commit(6)
    assert member.found == [Committed(None), Committed(1)]
