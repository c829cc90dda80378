"""What the sink must notice: records that Kafka lost, a flood, text in another encoding."""

from datetime import timedelta
from typing import Any, cast

import msgspec
import psycopg
import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from fix_services import created_database
from fix_sink import DirectSink, RunningSink, SinkRig, wait_until
from pydantic import SecretStr
from samples import page, sent
from servers import Services

from consumers.dead_letters import DeadLetterPolicy, FloodError
from consumers.registry import CONSUMERS
from consumers.sink.assigning import PositionReader
from consumers.sink.positions import Origin
from runtime.database.connections import connect
from runtime.database.migrating import migrate
from runtime.errors import ConfigurationError
from runtime.settings import Settings
from schemas.topics import PAGES


@pytest.mark.parametrize("published_anew", [0, 10, 60])
def test_a_topic_made_anew_under_a_running_sink_stops_it(
    sink_rig: SinkRig, published_anew: int
) -> None:
    sink_rig.publish(*(page(f"{number:03}") for number in range(50)))
    sink = RunningSink(sink_rig.settings)
    sink_rig.settle(sink)
    make_anew(sink_rig)
    sink_rig.publish(*(page(f"new{number:03}") for number in range(published_anew)))
    error = sink.ended()
    assert isinstance(error, ConfigurationError)
    assert "lost records" in str(error) or "made anew" in str(error)


def test_a_topic_whose_settings_somebody_changes_is_still_the_same(sink_rig: SinkRig) -> None:
    cluster = sink_rig.cluster
    origin = Origin(topic_ids=cluster.check_topics(), cluster_id=cluster.cluster_id())
    nothing = cast("Any", None)
    reader = PositionReader(nothing, cluster, nothing, origin, nothing)
    admin = AdminClient({"bootstrap.servers": sink_rig.settings.kafka})
    smaller = ConfigEntry("max.message.bytes", "300", incremental_operation=AlterConfigOpType.SET)
    pages = PAGES.full_name(sink_rig.settings.topic_prefix)
    changed = ConfigResource(ResourceType.TOPIC, pages, incremental_configs=[smaller])
    admin.incremental_alter_configs([changed])[changed].result(20)
    wait_until(lambda: any(topic.wrong for topic in cluster.topics()), "the topic to be wrong")
    reader.check_origin()
    make_anew(sink_rig)
    with pytest.raises(ConfigurationError, match="made anew"):
        reader.check_origin()


def make_anew(rig: SinkRig) -> None:
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka})
    name = PAGES.full_name(rig.settings.topic_prefix)
    admin.delete_topics([name])[name].result(20)
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics, "the topic to go")
    assert rig.cluster.create_topics() == [name]


def test_a_flood_in_one_batch_sets_aside_what_it_may_and_then_stops(
    direct_sink: DirectSink,
) -> None:
    policy = DeadLetterPolicy(most=2, within=timedelta(minutes=1))
    limited = tuple(msgspec.structs.replace(consumer, policy=policy) for consumer in CONSUMERS)
    applier = direct_sink.applier_with(limited)
    bad = [sent(page(f"bad{number}", walk=-1)) for number in range(5)]
    with pytest.raises(FloodError, match="more than 2 records of pages"):
        applier.apply(direct_sink.connection, direct_sink.batch(direct_sink.records(*bad)))
    assert len(direct_sink.rows("SELECT FROM pagestream.dead_letter")) == 2
    position = direct_sink.one("SELECT next_offset FROM pagestream_1.sink_position")
    assert position == {"next_offset": 2}


def test_text_is_stored_as_it_is_whatever_encoding_the_environment_wants(
    migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    sink = DirectSink(Settings(database=SecretStr(migrated_database), _env_file=None))
    with sink.connection:
        sink.apply(page("a", text="Bürgermeister é 🏛️"))
        stored = sink.one("SELECT text, row_hash FROM pagestream.meeting_page")
    assert stored["text"] == "Bürgermeister é 🏛️"


def test_a_database_that_cannot_hold_every_text_is_refused(services: Services) -> None:
    with created_database(services, None) as url, psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP DATABASE IF EXISTS narrow")
        owner.execute(
            "CREATE DATABASE narrow TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
            " LOCALE_PROVIDER libc"
        )
        narrow = psycopg.conninfo.make_conninfo(url, dbname="narrow")
        settings = Settings(database=SecretStr(narrow), _env_file=None)
        with pytest.raises(ConfigurationError, match="stores text as LATIN1"):
            migrate(settings)
        connect(settings, "test").close()
        owner.execute("DROP DATABASE narrow WITH (FORCE)")
