"""The topics' records: complete, and every message type on exactly one of them."""

import re
from collections import Counter
from datetime import timedelta
from typing import get_args

import pytest

from schemas import commands, events
from schemas.codec import MESSAGE_TYPES
from schemas.topics import COMMANDS, LEDGER, MAX_MESSAGE_BYTES, PAGES, TOPICS, Role, Topic

each_topic = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


def test_every_message_type_is_on_exactly_one_topic() -> None:
    assert Counter(message for topic in TOPICS for message in topic.messages) == Counter(
        dict.fromkeys(MESSAGE_TYPES, 1)
    )


def test_names_are_unique() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    assert len({message.__name__ for message in MESSAGE_TYPES}) == len(MESSAGE_TYPES)


@each_topic
def test_a_topics_record_is_complete(topic: Topic) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", topic.name)
    assert topic.purpose.endswith(".")
    assert topic.messages
    assert topic.writers
    assert topic.readers
    assert {*topic.writers, *topic.readers} <= set(get_args(Role))
    assert all(form.strip().startswith("site") for form in topic.key.split(";"))


@each_topic
def test_what_a_topic_is_created_with_says_all_of_its_record(topic: Topic) -> None:
    config = topic.config()

    assert all(isinstance(value, str) and value for value in config.values())
    assert config["max.message.bytes"] == str(MAX_MESSAGE_BYTES)
    if topic.retention is None:
        assert config["cleanup.policy"] == "compact"
        assert "retention.ms" not in config
    else:
        assert config["cleanup.policy"] == "delete"
        assert timedelta(milliseconds=int(config["retention.ms"])) == topic.retention
        assert topic.tombstone_life is None


def test_the_promised_lives() -> None:
    days = {topic.name: topic.retention.days for topic in TOPICS if topic.retention is not None}

    assert days == {"commands": 30, "ledger": 30, "dead-letters": 90}
    assert PAGES.config()["delete.retention.ms"] == str(30 * 24 * 3600 * 1000)


def test_only_the_walker_writes_pages_states_and_the_ledger() -> None:
    by_the_walker = {topic.name for topic in TOPICS if topic.writers == ("walker",)}

    assert by_the_walker == {"pages", "walks", "municipalities", "ledger"}


def test_commands_and_events_are_where_they_belong() -> None:
    assert all(issubclass(message, commands.Command) for message in COMMANDS.messages)
    assert all(issubclass(message, events.Event) for message in LEDGER.messages)


def test_a_topics_full_name_begins_with_the_prefix() -> None:
    assert PAGES.full_name("pagestream") == "pagestream.pages"
