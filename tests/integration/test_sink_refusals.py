"""What a sink refuses to work with: each time one line that names the thing, and the remedy."""

import pytest
from fix_sink import RunningSink, SinkRig, owned_partitions, wait_until
from pydantic import SecretStr
from samples import SITE, page, sent

from runtime.errors import ConfigurationError, OwnedElsewhere, Unavailable
from schemas.codec import TYPE_HEADER
from schemas.walks import WalkState


def test_a_slot_is_one_process_own(sink_rig: SinkRig) -> None:
    with sink_rig.running() as running:
        wait_until(lambda: owned_partitions(running), "partitions")
        assert isinstance(RunningSink(sink_rig.settings).ended(), OwnedElsewhere)


def test_a_state_of_a_newer_version_stops_it(sink_rig: SinkRig) -> None:
    state = sent(WalkState(site=SITE, kind="minutes"))
    state.headers[TYPE_HEADER] = b"WalkState/99"
    sink_rig.publish(state)

    process = sink_rig.start_process()

    assert process.wait(60) == ConfigurationError.exit_code
    assert process.stderr is not None
    assert "WalkState of version 99" in process.stderr.read()
    assert not sink_rig.rows("SELECT * FROM pagestream.dead_letter")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("topic_id = 'another'", "another topic pages"),
        ("cluster_id = 'another'", "another topic pages"),
        ("next_offset = 1000000", "Kafka has lost records"),
    ],
)
def test_a_position_that_means_nothing_here_stops_it(
    sink_rig: SinkRig, change: str, words: str
) -> None:
    sink_rig.publish(page("a"))
    with sink_rig.running() as running:
        sink_rig.settle(running)
    sink_rig.do(f"UPDATE pagestream_1.sink_position SET {change}")

    error = RunningSink(sink_rig.settings).ended()

    assert isinstance(error, ConfigurationError)
    assert words in str(error)


def test_without_a_schema_it_says_what_to_run(sink_rig: SinkRig) -> None:
    sink_rig.do("DROP SCHEMA pagestream_log CASCADE")

    error = RunningSink(sink_rig.settings).ended()

    assert isinstance(error, ConfigurationError)
    assert "run `pagestream migrate`" in str(error)


def test_without_a_database_it_says_so_at_once(sink_rig: SinkRig) -> None:
    nowhere = SecretStr("postgresql://127.0.0.1:1/pagestream")

    error = RunningSink(sink_rig.settings.model_copy(update={"database": nowhere})).ended()

    assert isinstance(error, Unavailable)
    assert "PAGESTREAM_DATABASE" in str(error)


def test_without_topics_it_says_what_to_run(sink_rig: SinkRig) -> None:
    elsewhere = sink_rig.settings.model_copy(
        update={"topic_prefix": f"{sink_rig.settings.topic_prefix}-none"}
    )

    error = RunningSink(elsewhere).ended()

    assert isinstance(error, ConfigurationError)
    assert "missing" in str(error)
