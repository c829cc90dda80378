"""Reading records: what each topic takes, and what it sets aside or stops at."""

from collections.abc import Callable

import msgspec
import pytest
from samples import SITE, dead_letter, gone, now, page, sent

from consumers.projections import dead_letters, municipalities, pages, walks
from consumers.reading import Named, what_key_names
from consumers.registry import CONSUMERS, SINK
from runtime.errors import ConfigurationError, RecordError
from runtime.kafka.records import Outgoing, Record, outgoing
from schemas.codec import TYPE_HEADER, WALK_HEADER
from schemas.message import Message
from schemas.records import DeadLetter, Municipality, SiteRemoved, WalkBarrier
from schemas.tables import Table
from schemas.topics import DEAD_LETTERS, PAGES, TOPICS, WALKS
from schemas.walks import WalkState

LETTER = dead_letter("a")
STATE = WalkState(site=SITE, kind="minutes")
BARRIER = WalkBarrier(site=SITE, kind="minutes", number=1, walk=1, at=now())
REMOVED = SiteRemoved(site=SITE, kind="minutes", at=now())
TABLE = Table(SITE, "minutes")

GOOD: list[tuple[Callable[[Record], object], Outgoing, Message]] = [
    (pages.read, sent(page("a")), page("a")),
    (pages.read, sent(BARRIER), BARRIER),
    (pages.read, sent(REMOVED), REMOVED),
    (walks.read, sent(STATE), STATE),
    (municipalities.read, sent(Municipality(site=SITE)), Municipality(site=SITE)),
    (
        dead_letters.read,
        outgoing(DEAD_LETTERS, TABLE.record_key("a"), TABLE.partition, LETTER),
        LETTER,
    ),
]


def as_read(out: Outgoing, **change: object) -> Record:
    record = Record(out.topic, out.partition, 0, out.key, out.value, out.headers, 0)
    return msgspec.structs.replace(record, **change)


@pytest.mark.parametrize(("read", "out", "message"), GOOD)
def test_each_topic_takes_its_messages(
    read: Callable[[Record], object], out: Outgoing, message: Message
) -> None:
    assert read(as_read(out)) == message


@pytest.mark.parametrize(("read", "out", "_message"), GOOD)
def test_none_takes_another_partition(
    read: Callable[[Record], object], out: Outgoing, _message: Message
) -> None:
    with pytest.raises(RecordError) as caught:
        read(as_read(out, partition=(out.partition + 1) % 48))
    assert caught.value.reason == "wrong_partition"


@pytest.mark.parametrize(("read", "out", "message"), GOOD)
def test_none_takes_another_key(
    read: Callable[[Record], object], out: Outgoing, message: Message
) -> None:
    if not isinstance(message, DeadLetter):
        with pytest.raises(RecordError, match="belongs"):
            read(as_read(out, key=f"{out.key}x"))


@pytest.mark.parametrize(("read", "out", "message"), GOOD)
def test_a_newer_version_or_type_stops(
    read: Callable[[Record], object], out: Outgoing, message: Message
) -> None:
    newer = f"{type(message).__name__}/{message.version + 1}"
    for header in (newer, "OfALaterRelease/1"):
        with pytest.raises(ConfigurationError, match="install the version"):
            read(as_read(out, headers={TYPE_HEADER: header.encode()}))


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda consumer: consumer.topic.name)
def test_no_topic_takes_what_is_of_another(consumer: object) -> None:
    assert isinstance(consumer, type(CONSUMERS[0]))
    command = {TYPE_HEADER: b"PauseWalk/1"}
    value = (
        b'{"site":"a","kind":"minutes","command_id":"c","sent_by":"me","walk":1,'
        b'"sent_at":"2024-01-01T00:00:00Z"}'
    )
    with pytest.raises(RecordError) as caught:
        consumer.read(Record(consumer.topic.name, 0, 0, "a/minutes", value, command, 0))
    assert caught.value.reason == "undecodable"


@pytest.mark.parametrize(
    "bad",
    [page(""), page("a", site="../evil"), page("a", walk=-1), page("a", walk=2**63)],
    ids=["id", "site", "negative walk", "huge walk"],
)
def test_a_page_that_cannot_be_one_is_refused(bad: Message) -> None:
    with pytest.raises(RecordError):
        pages.read(as_read(sent(bad)))


def test_a_tombstone_says_its_table_its_id_and_perhaps_its_walk() -> None:
    read = pages.read(as_read(gone("x/y", walk=7)))
    assert isinstance(read, pages.Tombstone)
    assert (read.table, read.id, read.walk) == (TABLE, "x/y", 7)

    for walk in (b"", b"-1", b"many", str(2**63).encode()):
        out = gone("x")
        out.headers[WALK_HEADER] = walk
        unnamed = pages.read(as_read(out))
        assert isinstance(unnamed, pages.Tombstone)
        assert unnamed.walk == 0


@pytest.mark.parametrize("key", [None, "", "a/minutes", "a/minutes/", "A!/minutes/x", "a/b/x"])
def test_a_tombstone_of_no_page_is_refused(key: str | None) -> None:
    with pytest.raises(RecordError):
        pages.read(as_read(gone("x"), key=key))


@pytest.mark.parametrize(
    ("topic", "key", "named"),
    [
        (PAGES.name, "a.b/minutes/x/y", Named("a.b", "minutes", "x/y")),
        (PAGES.name, "a.b/minutes#barrier", Named()),
        (PAGES.name, None, Named()),
        (WALKS.name, "a.b/agenda", Named("a.b", "agenda")),
        ("municipalities", "a.b", Named("a.b")),
        ("municipalities", "not a site", Named()),
    ],
)
def test_a_key_names_what_it_can(topic: str, key: str | None, named: Named) -> None:
    assert what_key_names(Record(topic, 0, 0, key, None, {}, 0)) == named


def test_the_registry_reads_each_topic_that_names_the_sink_as_reader() -> None:
    assert {consumer.topic.name for consumer in CONSUMERS} == {
        topic.name for topic in TOPICS if "sink" in topic.readers
    }
    assert {consumer.group for consumer in CONSUMERS} == {SINK}
