"""Offsets as a broker that is just starting answers for them: not at all, and without an error."""

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, TopicPartition
from confluent_kafka.admin import ListOffsetsResultInfo

from runtime.errors import Unavailable
from runtime.kafka.cluster import Cluster
from runtime.kafka.records import Partition
from runtime.settings import Settings
from schemas.topics import PAGES

PLACE = Partition(PAGES.name, 3)


class StartingBroker:
    """Answers for offsets in turn; no real broker can be made to leave one out at will."""

    def __init__(self, *offsets: int) -> None:
        self._offsets = list(offsets)

    def list_offsets(self, wanted: Iterable[TopicPartition], **_: Any) -> dict[Any, Future[Any]]:
        offset = self._offsets.pop(0) if len(self._offsets) > 1 else self._offsets[0]
        answers = {}
        for native in wanted:
            answers[native] = Future[Any]()
            answers[native].set_result(ListOffsetsResultInfo(offset, 0, 0))
        return answers

    def list_topics(self, **_: Any) -> None:
        pass


def cluster(*offsets: int, seconds: float = 5) -> Cluster:
    made = Cluster(Settings(_env_file=None), seconds=seconds)
    made._admin = StartingBroker(*offsets)  # type: ignore[assignment]  # noqa: SLF001 - see there
    return made


def test_an_offset_that_was_left_out_is_asked_for_again() -> None:
    assert cluster(OFFSET_INVALID, OFFSET_INVALID, 42).ends([PLACE]) == {PLACE: 42}


def test_one_that_is_never_told_is_no_offset() -> None:
    with pytest.raises(Unavailable):
        cluster(OFFSET_INVALID, seconds=0.3).ends([PLACE])
