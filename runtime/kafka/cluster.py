"""The broker as its administrator sees it: topics made and checked, offsets, members of a group."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Final

import msgspec
from confluent_kafka import (
    OFFSET_INVALID,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType
from stamina import retry_context

from runtime.errors import BrokerUnavailable, ConfigurationError, OwnedElsewhere, Unavailable
from runtime.kafka.client import (
    Names,
    answer_about_group,
    client_config,
    describe,
    fate,
    group_has_members,
)
from runtime.kafka.records import Committed, Partition
from runtime.settings import Settings
from schemas.tables import PARTITIONS
from schemas.topics import TOPICS, Topic

_LOOK_AGAIN_SECONDS: Final = 0.05
_TRIES: Final = 3
_REMEDY_CHANGE: Final = "`pagestream topics` shows what is declared: change the topics to that"
_REMEDY_CREATE: Final = "run `pagestream topics --create`"


class TopicState(msgspec.Struct, frozen=True, kw_only=True):
    """One topic as it stands on the broker; `wrong` says in words what is not as declared."""

    topic: Topic
    name: str
    topic_id: str | None = None
    partitions: int = 0
    wrong: tuple[str, ...] = ()


class Cluster:
    """Administers one Kafka cluster. Keeps its client: a temporary one dies before its answers."""

    def __init__(self, settings: Settings, *, seconds: float = 15) -> None:
        self._settings = settings
        self._names = Names(settings)
        self._seconds = seconds
        self._admin = AdminClient(client_config(settings))

    def cluster_id(self) -> str:
        """Return the cluster's id; Unavailable when no broker answers."""
        try:
            return self._admin.cluster_id(self._seconds)
        except KafkaException as error:
            raise self._no_answer(error) from error

    def create_topics(self) -> list[str]:
        """Create the topics that are missing; return the names of those created, all to be seen.

        A broker answers a creation before it shows the new topic to everybody.
        """
        wanted = [
            NewTopic(
                topic.full_name(self._settings.topic_prefix),
                PARTITIONS,
                self._settings.replication_factor,
                config=topic.config(),
            )
            for topic in TOPICS
        ]
        created = []
        for name, future in self._admin.create_topics(wanted).items():
            if self._created(name, future):
                created.append(name)
        self._wait_until_shown(set(created))
        return created

    def _wait_until_shown(self, names: set[str]) -> None:
        deadline = time.monotonic() + self._seconds
        while names & {state.name for state in self.topics() if state.topic_id is None}:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Kafka at {self._settings.kafka} created topics, but does not show them",
                    remedy="try again in a moment",
                )
            time.sleep(_LOOK_AGAIN_SECONDS)

    def _created(self, name: str, future: Future[None]) -> bool:
        try:
            future.result(self._seconds)
        except (KafkaException, TimeoutError) as error:
            if (
                isinstance(error, KafkaException)
                and error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
            ):
                return False
            raise self._no_answer(error, f"creating topic {name}") from error
        return True

    def topics(self) -> list[TopicState]:
        """Return every declared topic as it stands: missing, wrong, or as declared."""
        names = [topic.full_name(self._settings.topic_prefix) for topic in TOPICS]
        found = {}
        for name, future in self._admin.describe_topics(TopicCollection(names)).items():
            try:
                found[name] = future.result(self._seconds)
            except (KafkaException, TimeoutError) as error:
                if not _is_missing(error):
                    raise self._no_answer(error) from error
        configs = self._configs([name for name in names if name in found])
        return [
            _state(topic, name, found.get(name), configs.get(name, {}))
            for topic, name in zip(TOPICS, names, strict=True)
        ]

    def check_topics(self) -> dict[str, str]:
        """Return the id of every topic, by short name; ConfigurationError unless all are right."""
        states = self.topics()
        missing = [state.name for state in states if state.topic_id is None]
        if missing:
            raise ConfigurationError(f"missing topics: {', '.join(missing)}", remedy=_REMEDY_CREATE)
        wrong = [f"topic {state.name} {reason}" for state in states for reason in state.wrong]
        if wrong:
            raise ConfigurationError("; ".join(wrong), remedy=_REMEDY_CHANGE)
        return {state.topic.name: str(state.topic_id) for state in states}

    def topic_ids(self) -> dict[str, str]:
        """Return the id of every declared topic that the broker shows now, by short name."""
        states = self.topics()
        return {one.topic.name: one.topic_id for one in states if one.topic_id is not None}

    def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        found = {}
        for resource, future in self._admin.describe_configs(resources).items():
            entries = self._result(future)
            found[resource.name] = {name: entry.value for name, entry in entries.items()}
        return found

    def ends(
        self, partitions: Iterable[Partition], *, pending_too: bool = False
    ) -> dict[Partition, int]:
        """Return the offset after the last record of each partition.

        Without `pending_too` that is the end of what is committed; with it, records of open
        transactions and markers not yet written count too.
        """
        isolation = (
            IsolationLevel.READ_UNCOMMITTED if pending_too else IsolationLevel.READ_COMMITTED
        )
        return self._offsets(partitions, OffsetSpec.latest(), isolation)  # type: ignore[no-untyped-call]  # the library's

    def starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return the offset of the oldest record of each partition."""
        isolation = IsolationLevel.READ_UNCOMMITTED
        return self._offsets(partitions, OffsetSpec.earliest(), isolation)  # type: ignore[no-untyped-call]  # the library's

    def offsets_at(
        self, partitions: Iterable[Partition], at: datetime
    ) -> dict[Partition, int | None]:
        """Return the offset of each partition's first record from a time on, None without one."""
        which = OffsetSpec.for_timestamp(int(at.timestamp() * 1000))
        found = self._offsets(partitions, which, IsolationLevel.READ_UNCOMMITTED)
        return {place: offset if offset >= 0 else None for place, offset in found.items()}

    def _offsets(
        self, partitions: Iterable[Partition], which: OffsetSpec, isolation: IsolationLevel
    ) -> dict[Partition, int]:
        """Ask for offsets; again, while a partition's leader is not known.

        So it is for a moment after a creation. After a broker's restart the client would hold on
        to the old leaders for ever, and ask nobody: it renews its metadata only when told to.
        """
        wanted = {self._names.native(partition): which for partition in partitions}
        try:
            for attempt in retry_context(
                on=BrokerUnavailable,
                attempts=None,
                timeout=self._seconds,
                wait_initial=0.05,
                wait_max=0.5,
            ):
                with attempt:
                    self._renew_metadata({native.topic for native in wanted})
                    found = self._offsets_once(wanted, isolation)
        except BrokerUnavailable as error:
            raise self._no_answer(error) from error
        return found

    def _renew_metadata(self, names: set[str]) -> None:
        for name in names:
            try:
                self._admin.list_topics(topic=name, timeout=self._seconds / _TRIES)
            except KafkaException as error:
                raise fate(error, f"asking for the leaders of {name}") from error

    def _offsets_once(
        self, wanted: dict[TopicPartition, OffsetSpec], isolation: IsolationLevel
    ) -> dict[Partition, int]:
        seconds = self._seconds / _TRIES
        futures = self._admin.list_offsets(
            wanted, isolation_level=isolation, request_timeout=seconds
        )
        found = {}
        for native, future in futures.items():
            try:
                offset = int(future.result(seconds).offset)
            except KafkaException as error:
                raise fate(error, f"asking for the offsets of {native.topic}") from error
            except TimeoutError as error:
                raise BrokerUnavailable(f"no answer about the offsets of {native.topic}") from error
            if offset == OFFSET_INVALID:
                # A broker that is starting leaves partitions out of its answer, without an error.
                raise BrokerUnavailable(f"no answer about the offsets of {native.topic}")
            found[self._names.partition(native)] = offset
        return found

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, Committed]:
        """Return the positions that a group has committed, asked from outside of it."""
        wanted = [ConsumerGroupTopicPartitions(group, self._names.natives(partitions))]

        def ask(seconds: float) -> Any:
            found = self._admin.list_consumer_group_offsets(wanted, request_timeout=seconds)
            return found[group].result(seconds + 1)

        try:
            found = answer_about_group(ask, self._seconds)
        except (KafkaException, TimeoutError) as error:
            raise self._no_answer(error) from error
        return {
            self._names.partition(native): Committed(
                native.offset if native.offset >= 0 else None, native.metadata or None
            )
            for native in found.topic_partitions
        }

    def set_committed(self, group: str, positions: Mapping[Partition, Committed]) -> None:
        """Set the positions that a group has committed, as an operator does.

        Raises OwnedElsewhere while the group has a member: Kafka refuses it then.
        """
        natives = [
            self._names.native(partition, position.offset or 0, position.metadata or "")
            for partition, position in positions.items()
        ]
        wanted = [ConsumerGroupTopicPartitions(group, natives)]

        def alter(seconds: float) -> None:
            altered = self._admin.alter_consumer_group_offsets(wanted, request_timeout=seconds)
            for native in altered[group].result(seconds + 1).topic_partitions:
                if native.error is not None:
                    raise KafkaException(native.error)

        try:
            answer_about_group(alter, self._seconds)
        except (KafkaException, TimeoutError) as error:
            if isinstance(error, KafkaException) and group_has_members(error):
                raise OwnedElsewhere(
                    f"the group {group} has members, and Kafka sets no offset of such a group",
                    remedy="stop all of them first",
                ) from error
            raise self._no_answer(error, f"setting offsets of {group}") from error

    def members(self, group: str) -> int:
        """Return how many processes are members of a group now; 0 where there is no such group."""
        return len(self._members(group))

    def slots(self, group: str) -> set[str]:
        """Return the stable names of a group's members, of those that have one."""
        names = (member.group_instance_id for member in self._members(group))
        return {name for name in names if name}

    def _members(self, group: str) -> list[Any]:
        def ask(seconds: float) -> list[Any]:
            found = self._admin.describe_consumer_groups([group], request_timeout=seconds)
            return list(found[group].result(seconds + 1).members)

        try:
            return answer_about_group(ask, self._seconds)
        except (KafkaException, TimeoutError) as error:
            if (
                isinstance(error, KafkaException)
                and error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND
            ):
                return []
            raise self._no_answer(error) from error

    def _result(self, future: "Future[Any]") -> Any:
        try:
            return future.result(self._seconds)
        except (KafkaException, TimeoutError) as error:
            raise self._no_answer(error) from error

    def _no_answer(self, error: Exception, doing: str = "asking Kafka") -> Exception:
        if isinstance(error, KafkaException):
            reason = fate(error, doing)
            if isinstance(reason, ConfigurationError):
                return reason
        detail = describe(error) if isinstance(error, KafkaException) else str(error)
        return Unavailable(
            f"{doing}: Kafka at {self._settings.kafka} does not answer ({detail})",
            remedy="start it, or set PAGESTREAM_KAFKA to where it is",
        )


def _is_missing(error: Exception) -> bool:
    return (
        isinstance(error, KafkaException)
        and error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    )


def _state(topic: Topic, name: str, found: Any, config: dict[str, str]) -> TopicState:
    if found is None:
        return TopicState(topic=topic, name=name, wrong=("missing",))
    wrong = []
    if len(found.partitions) != PARTITIONS:
        wrong.append(
            f"has {len(found.partitions)} partitions where {PARTITIONS} are needed, a number that "
            "cannot be changed: take another PAGESTREAM_TOPIC_PREFIX for new topics"
        )
    wrong += [
        f"{setting} is {config.get(setting)} where {value} is declared"
        for setting, value in topic.config().items()
        if config.get(setting) != value
    ]
    return TopicState(
        topic=topic,
        name=name,
        topic_id=str(found.topic_id),
        partitions=len(found.partitions),
        wrong=tuple(wrong),
    )
