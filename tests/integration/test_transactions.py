"""Transactions that the broker refuses: whenever the refusal comes, it is taken for one."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from broken_walker import membership_of_no_generation
from fix_proxy import ProxiedKafka
from fix_walker import allow_bytes
from proxy import TO_CLIENT

from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Outgoing, Partition
from runtime.kafka.transactions import TransactionalProducer, TransactionRefused
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.topics import COMMANDS, PAGES

COMMAND = Partition(COMMANDS.name, 0)
TOO_LARGE = Outgoing(PAGES.name, 0, "key", bytes(range(256)) * 8, {})


def test_a_refusal_that_comes_while_the_offset_is_sent_is_not_taken_for_a_mistake_of_ours(
    proxied_kafka: ProxiedKafka, tmp_path: Path
) -> None:
    settings = Settings(kafka=proxied_kafka.start(), state_directory=tmp_path, _env_file=None)
    Cluster(settings).create_topics()
    allow_bytes(settings, PAGES, 300)
    membership = membership_of_no_generation(settings)
    behind = settings.model_copy(update={"kafka": proxied_kafka.proxied})
    producer = TransactionalProducer(behind, "slot", Metrics(), lambda: None)
    producer.publish([Outgoing(PAGES.name, 0, "key", b"small", {})])

    def sent_before_the_offset() -> Iterator[Outgoing]:
        yield TOO_LARGE
        wait_until_answered(proxied_kafka)  # the transaction's partition is known
        proxied_kafka.proxy.wait_until_held(TO_CLIENT)  # the refusal is on its way

    proxied_kafka.proxy.delay(0.3, TO_CLIENT)
    with pytest.raises(TransactionRefused, match="MSG_SIZE_TOO_LARGE"):
        producer.commit_step(sent_before_the_offset(), COMMAND, 1, "", membership)


def wait_until_answered(kafka: ProxiedKafka) -> None:
    before, deadline = kafka.proxy.passed(TO_CLIENT), time.monotonic() + 20
    while kafka.proxy.passed(TO_CLIENT) == before:
        assert time.monotonic() < deadline
