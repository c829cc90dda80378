"""A slot of the walkers' group, moved by hand: a transaction can stop between any two calls."""

from typing import Self

from confluent_kafka import Producer, TopicPartition
from fix_walker import WalkerRig

from producer.publication import AS_OF_HEADER, COMMANDS_HEADER
from producer.state import commit_metadata
from producer.walker import group_name
from runtime.kafka.group import GroupConsumer, GroupMetadata
from runtime.kafka.records import Partition, outgoing
from schemas.tables import Table
from schemas.topics import COMMANDS, WALKS
from schemas.walks import Position, WalkState

TABLE = Table("alameda.ca", "minutes")
"""The one table whose states are written."""


class Slot:
    """One slot of the walkers' group, moved by hand, one call of its transaction after the other.

    It is a dynamic member, which can leave at once; its transactions are its name's, as always.
    """

    consumer: GroupConsumer
    membership: GroupMetadata

    def __init__(self, rig: WalkerRig, name: str) -> None:
        self.rig = rig
        self.commands_id = rig.cluster.check_topics()[COMMANDS.name]
        self._commands = COMMANDS.full_name(rig.settings.topic_prefix)
        self._walks = WALKS.full_name(rig.settings.topic_prefix)
        self.name = f"{rig.settings.topic_prefix}.{name}"
        # Who is named in what it commits may be ended by a successor that has waited for long.
        self.signs_as = "nobody"
        self._assigned = False
        self._producer = Producer(
            {
                "bootstrap.servers": rig.settings.kafka,
                "transactional.id": self.name,
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        self._producer.init_transactions(20)

    def join(self, kind: type[GroupConsumer] = GroupConsumer) -> Self:
        """Become the group's only member."""
        self.consumer = kind(
            self.rig.settings,
            group=group_name(self.rig.settings),
            member=self.name,
            topics=(COMMANDS.name,),
            ownership=self,
            tuning={"group.instance.id": None},
        )
        while not self._assigned:
            self.consumer.poll(0.1)
        self.membership = self.consumer.metadata
        return self

    def succeeded_by(self, name: str) -> "Slot":
        """Leave the group, as whose session has run out, and return who owns its partitions."""
        self.consumer.close()
        return Slot(self.rig, name).join()

    def assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        self._assigned = True
        return dict.fromkeys(partitions, 0)

    def revoked(self, partitions: list[Partition]) -> None:
        """Let go of nothing: a zombie has not heard of it."""

    def begin(self) -> None:
        self._producer.begin_transaction()

    def write_state(self, step: int) -> None:
        """Write the state after `step`, and see it in the log."""
        state = WalkState(
            site=TABLE.site,
            kind=TABLE.kind,
            revision=step,
            status="in_progress",
            walk=1,
            steps=step,
            position=Position(phase="pages"),
        )
        headers = {AS_OF_HEADER: str(step).encode(), COMMANDS_HEADER: self.commands_id.encode()}
        record = outgoing(WALKS, TABLE.key, TABLE.partition, state, headers)
        self._producer.produce(
            self._walks, record.value, record.key, TABLE.partition, headers=dict(record.headers)
        )
        assert self._producer.flush(20) == 0

    def send_offset(self, step: int, membership: GroupMetadata | None = None) -> None:
        metadata = commit_metadata(step, self.commands_id, self.signs_as)
        position = TopicPartition(self._commands, TABLE.partition, step, metadata=metadata)
        self._producer.send_offsets_to_transaction([position], membership or self.membership, 20)

    def commit(self) -> None:
        self._producer.commit_transaction(20)

    def abort(self) -> None:
        self._producer.abort_transaction(20)

    def step(self, step: int) -> None:
        """Do all of it in its order."""
        self.begin()
        self.write_state(step)
        self.send_offset(step)
        self.commit()
