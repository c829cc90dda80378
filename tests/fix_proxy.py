"""Fixtures for Kafka behind a proxy: its clients' connections, or what one broker tells another.

A client of Kafka connects to wherever the broker says that it is. So the broker gets a second
listener, which it advertises as its proxy's address: who comes through the proxy stays behind it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from proxy import Proxy
from servers import kill_all, state_directory
from stamina import retry_context

from pagestream.embedded.kafka import EmbeddedKafka
from pagestream.embedded.processes import free_port
from schemas.tables import PARTITIONS
from schemas.topics import TOPICS, WALKS


class ProxiedKafka(EmbeddedKafka):
    """A broker with two doors: `start` returns the open one, `proxied` goes through `proxy`."""

    def __init__(self, state: Path, settings: Mapping[str, str] | None = None) -> None:
        maps = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT"
        super().__init__(
            state,
            heap="384m",
            repository=os.environ.get("PAGESTREAM_MAVEN_URL"),
            settings={"listener.security.protocol.map": maps, **(settings or {})},
        )
        self._behind = free_port()
        self.proxy = Proxy(f"127.0.0.1:{self._behind}")

    @property
    def proxied(self) -> str:
        """The bootstrap address of clients whose connections are to be cut, late or frozen."""
        return self.proxy.address

    def _write_properties(self, name: str, port: int, data: Path) -> str:
        written = self.state / super()._write_properties(name, port, data)
        properties = read_properties(written)
        properties["listeners"] += f",PROXIED://127.0.0.1:{self._behind}"
        properties["advertised.listeners"] += f",PROXIED://{self.proxy.address}"
        self.amend(properties)
        written.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        return name

    def amend(self, properties: dict[str, str]) -> None:
        """Change the broker's properties before it starts, or is formatted."""


class SecondBroker(ProxiedKafka):
    """A further broker of the cluster whose controller `first` is."""

    def __init__(self, state: Path, first: EmbeddedKafka, settings: Mapping[str, str]) -> None:
        super().__init__(state, settings)
        self._first = first

    def prepare(self) -> None:
        """Have the jars, and a data directory that belongs to the first broker's cluster."""
        data = self.state / "data"
        data.mkdir()
        identity = read_properties(self._first.state / "data" / "meta.properties")
        lines = ["version=1", f"cluster.id={identity['cluster.id']}", "node.id=2"]
        (data / "meta.properties").write_text("\n".join([*lines, ""]))
        super().prepare()

    def amend(self, properties: dict[str, str]) -> None:
        """Make it a broker alone, of the first one's controller."""
        for key in ("listeners", "advertised.listeners"):
            doors = properties[key].split(",")
            properties[key] = ",".join(door for door in doors if "CONTROLLER" not in door)
        first = read_properties(self._first.state / "server.properties")
        properties["controller.quorum.voters"] = first["controller.quorum.voters"]
        properties |= {"process.roles": "broker", "node.id": "2"}


class TwoBrokers:
    """Two brokers: the second leads every partition of `walks`, the first all else and all groups.

    What the first tells the second passes `markers`: when that is frozen, a transaction commits,
    and moves its group's offset, but its marker on `walks` is late.
    """

    def __init__(self, state: Path) -> None:
        within = {"inter.broker.listener.name": "PROXIED"}
        self._first = ProxiedKafka(state / "1", within)
        self._second = SecondBroker(state / "2", self._first, within)

    @property
    def markers(self) -> Proxy:
        """What the first broker tells the second."""
        return self._second.proxy

    def start(self) -> str:
        """Start both, and return the bootstrap address."""
        address = self._first.start()
        self._make_internal_topics(address)
        self._second.start()
        return address

    def _make_internal_topics(self, address: str) -> None:
        """Have them made while there is one broker: so it leads them all."""
        client: dict[str, str | int] = {"bootstrap.servers": address, "log_level": 0}
        producer = Producer(client | {"transactional.id": "placing"})
        producer.init_transactions(30)
        consumer = Consumer(client | {"group.id": "placing"})
        # The group's coordinator may still be on its way to its place.
        for attempt in retry_context(on=KafkaException, attempts=None, timeout=30, wait_max=0.2):
            with attempt:
                consumer.committed([TopicPartition("placing", 0)], 30)
        consumer.close()

    def create_topics(self, address: str, prefix: str) -> None:
        """Create the topics, each led by the broker that is to lead it."""
        admin = AdminClient({"bootstrap.servers": address})
        wanted = [
            NewTopic(
                topic.full_name(prefix),
                PARTITIONS,
                replica_assignment=[[2 if topic is WALKS else 1]] * PARTITIONS,
                config=topic.config(),
            )
            for topic in TOPICS
        ]
        for created in admin.create_topics(wanted).values():
            created.result(30)

    def close(self) -> None:
        """End everything."""
        for broker in (self._second, self._first):
            broker.kill()
            broker.proxy.close()


def read_properties(path: Path) -> dict[str, str]:
    """Return the pairs of a properties file."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def proxied_kafka() -> Iterator[ProxiedKafka]:
    """A broker of the test's own with a door behind a proxy, not started."""
    with state_directory() as state:
        server = ProxiedKafka(state)
        yield server
        kill_all(server)
        server.proxy.close()


@contextmanager
def two_brokers() -> Iterator[TwoBrokers]:
    """Have two brokers, of which one hears late of what was committed, not started."""
    with state_directory() as state:
        cluster = TwoBrokers(state)
        try:
            yield cluster
        finally:
            cluster.close()
