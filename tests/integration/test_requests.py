"""Waiting for the walker's answer: as long as one is at work, and no longer."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer
from fix_services import KafkaCorner

from pagestream import requests
from pagestream.requests import ask, settled
from runtime.errors import Unavailable
from runtime.kafka.cluster import Cluster
from runtime.kafka.publisher import Publisher
from runtime.kafka.records import outgoing
from runtime.settings import Settings
from schemas.commands import StartWalk
from schemas.events import CommandAnswered
from schemas.topics import LEDGER

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = StartWalk(site="alameda.ca", kind="minutes", command_id="c1", sent_by="test", sent_at=NOW)
ANSWER = CommandAnswered(
    site="alameda.ca",
    kind="minutes",
    command_id="c1",
    command="StartWalk",
    sent_by="test",
    answer="done",
    walk=1,
    at=NOW,
)


@pytest.fixture
def settings(kafka: KafkaCorner) -> Settings:
    settings = Settings(kafka=kafka.bootstrap, topic_prefix=kafka.prefix)
    Cluster(settings).create_topics()
    return settings


@contextmanager
def walker_that_is_busy(settings: Settings) -> Iterator[None]:
    """Have a member of the walkers' group that comes to no request."""
    member = Consumer(
        {"bootstrap.servers": settings.kafka, "group.id": f"{settings.topic_prefix}.walkers"}
    )
    member.subscribe([f"{settings.topic_prefix}.commands"])
    while not member.assignment():
        member.poll(0.1)
    yield
    member.close()


def test_a_busy_walker_is_waited_for(settings: Settings) -> None:
    said: list[str] = []

    def busy(words: str) -> None:
        said.append(words)
        table = ANSWER.table
        Publisher(settings).publish([outgoing(LEDGER, table.key, table.partition, ANSWER)])

    with walker_that_is_busy(settings):
        answers = ask(settings, Cluster(settings), [REQUEST], busy=busy, silence=0.5)
    assert settled([REQUEST], answers) == [ANSWER]
    assert said == ["a walker runs, and is busy with other requests: still waiting"]


def test_nobody_waits_for_ever(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BUSY_SECONDS", 1.5)
    said: list[str] = []
    with (
        walker_that_is_busy(settings),
        pytest.raises(Unavailable, match="a walker runs, and has not come to the request yet"),
    ):
        ask(settings, Cluster(settings), [REQUEST], busy=said.append, silence=0.5)
    assert len(said) == 1


def test_who_does_not_want_to_wait_hears_that_a_walker_runs(settings: Settings) -> None:
    with (
        walker_that_is_busy(settings),
        pytest.raises(Unavailable, match=r"a walker runs.* logged"),
    ):
        ask(settings, Cluster(settings), [REQUEST], silence=0.5)


def test_without_a_walker_it_is_said_that_none_runs(settings: Settings) -> None:
    said: list[str] = []
    answers = ask(settings, Cluster(settings), [REQUEST], busy=said.append, silence=0.5)
    with pytest.raises(Unavailable, match=r"no walker has taken the request yet.*run walker"):
        settled([REQUEST], answers)
    assert said == []
