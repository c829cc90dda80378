"""An operator resets the sink's offsets: backward is obeyed, forward refused, nothing doubled."""

import signal
from datetime import timedelta

import pytest
from fix_process import wait_until_frozen
from fix_services import created_database
from fix_sink import RunningSink, SinkRig, wait_until
from fix_sink_resets import LIFE, PAGES, PLACE, publish_aged, publish_walk
from psycopg.conninfo import conninfo_to_dict
from samples import SITE, dead_letter, page
from servers import Services

from consumers.sink.positions import MARK
from runtime.errors import ConfigurationError
from runtime.kafka.records import Committed, outgoing
from schemas.tables import Table
from schemas.topics import DEAD_LETTERS


def refusal(rig: SinkRig) -> str:
    """Return what a sink's process says when it refuses to start."""
    process = rig.start_process(PAGESTREAM_LOG_LEVEL="error")
    assert process.wait(60) == ConfigurationError.exit_code == 78
    assert process.stderr is not None
    said = process.stderr.read()
    assert said.count("\n") == 1
    return said


def test_a_backward_reset_is_obeyed_writes_nothing_and_counts_nothing(walked_sink: SinkRig) -> None:
    before, figures = walked_sink.fingerprint(), walked_sink.figures()
    walked_sink.operator_sets(("pages", PLACE, 30))

    with walked_sink.running() as running:
        walked_sink.settle(running)
        wait_until(
            lambda: walked_sink.committed("pages", PLACE) == Committed(PAGES, MARK),
            "the mark to return",
        )
        applied = running.metrics.registry.get_sample_value(
            "pagestream_records_applied_total", {"topic": "pages"}
        )

    assert applied == 94
    assert walked_sink.figures() == figures
    assert walked_sink.position("pages", PLACE) == {"next_offset": PAGES, "applied_to": PAGES}
    # Between the two walks the copy was another: only what differed then was written, and back.
    assert [row["id"] for row in before] == [row["id"] for row in walked_sink.fingerprint()]


def test_a_reset_to_where_nothing_differs_writes_no_row(walked_sink: SinkRig) -> None:
    before = walked_sink.fingerprint()
    walked_sink.operator_sets(("pages", PLACE, 62))
    with walked_sink.running() as running:
        walked_sink.settle(running)
        wait_until(lambda: walked_sink.committed("pages", PLACE).metadata == MARK, "the mark")
    assert walked_sink.fingerprint() == before


def test_a_reset_to_where_the_sink_stands_is_marked_and_nothing_applied(
    walked_sink: SinkRig,
) -> None:
    walked_sink.operator_sets(("pages", PLACE, PAGES))
    with walked_sink.running() as running:
        mirrored = Committed(PAGES, MARK)
        wait_until(lambda: walked_sink.committed("pages", PLACE) == mirrored, "the mark to return")
        assert running.metrics.registry.get_sample_value(
            "pagestream_records_applied_total", {"topic": "pages"}
        ) in (None, 0)


@pytest.mark.parametrize("point", ["sink.moved", "sink.mirrored:2"])
def test_killed_on_the_way_over_it_again_it_ends_equal(walked_sink: SinkRig, point: str) -> None:
    figures, ids = walked_sink.figures(), walked_sink.ids()
    walked_sink.operator_sets(("pages", PLACE, 0))
    small = {"PAGESTREAM_SINK_BATCH": "10"}
    process = walked_sink.start_process(PAGESTREAM_CRASH_AT=point, **small)
    assert process.wait(60) == -signal.SIGKILL
    assert walked_sink.position("pages", PLACE)["next_offset"] < PAGES
    assert walked_sink.position("pages", PLACE)["applied_to"] == PAGES

    publish_walk(walked_sink, 3, edited="!")
    with walked_sink.running() as running:
        walked_sink.settle(running)

    assert walked_sink.ids() == ids
    assert walked_sink.figures() == figures | {3: {"created": 1, "unchanged": 59, "deleted": 1}}


def test_a_forward_reset_is_refused_with_the_remedy(sink_rig: SinkRig) -> None:
    sink_rig.publish(page("a"), page("b"), page("c"))
    sink_rig.operator_sets(("pages", PLACE, 2))

    said = refusal(sink_rig)

    assert f"pages/{PLACE} was reset forward to 2" in said
    assert f"pagestream sink skip --topic pages --partition {PLACE} --to-offset 2" in said
    assert sink_rig.ids() == []
    assert sink_rig.committed("pages", PLACE) == Committed(2)


def test_records_deleted_before_they_were_applied_stop_it(sink_rig: SinkRig) -> None:
    # The one topic whose records grow old: of a compacted one, Kafka deletes none on demand.
    for_one_table = Table(SITE, "minutes")
    sink_rig.publish(
        *(
            outgoing(DEAD_LETTERS, for_one_table.record_key(identity), PLACE, dead_letter(identity))
            for identity in ("a", "b", "c")
        )
    )
    sink_rig.apply_published()
    sink_rig.do("UPDATE pagestream_1.sink_position SET next_offset = 1")
    sink_rig.delete_records("dead-letters", PLACE, before=2)

    said = refusal(sink_rig)

    assert f"dead-letters/{PLACE} begins at 2, but was applied up to 1 only" in said
    assert f"`pagestream sink skip --topic dead-letters --partition {PLACE}`" in said


def test_a_database_restored_from_a_backup_goes_on_from_its_own_position(
    walked_sink: SinkRig, services: Services
) -> None:
    backup_of = conninfo_to_dict(walked_sink.settings.database.get_secret_value())["dbname"]
    with created_database(services, str(backup_of)) as url:
        publish_walk(walked_sink, 3, edited="?")
        with walked_sink.running() as running:
            walked_sink.settle(running)
            wait_until(
                lambda: walked_sink.committed("pages", PLACE) == Committed(186, MARK), "the mark"
            )
        restored = walked_sink.on(url)
        assert restored.position("pages", PLACE)["next_offset"] == PAGES
        with restored.running() as running:
            restored.settle(running)
        assert restored.figures() == walked_sink.figures()
        assert restored.contents() == walked_sink.contents()


def test_a_backup_older_than_deletions_live_stops_it(walked_sink: SinkRig) -> None:
    publish_aged(walked_sink, LIFE)
    walked_sink.do("UPDATE pagestream_1.sink_position SET caught_up_at = now() - %s", LIFE)

    said = refusal(walked_sink)

    assert f"pages/{PLACE} was last applied to its end 31 days ago" in said
    assert f"`pagestream sink skip --topic pages --partition {PLACE}`" in said


@pytest.mark.parametrize("published", [0, 1])
def test_a_partition_in_which_nothing_has_happened_for_long_is_read_on(
    walked_sink: SinkRig, published: int
) -> None:
    walked_sink.do("UPDATE pagestream_1.sink_position SET caught_up_at = now() - %s", LIFE)
    for _ in range(published):
        publish_aged(walked_sink, timedelta(0))
    with walked_sink.running() as running:
        walked_sink.settle(running)
    assert len(walked_sink.ids()) == 59 + published
    since = walked_sink.one("SELECT now() - caught_up_at AS age FROM pagestream_1.sink_position")[
        "age"
    ]
    assert (since < LIFE / 2) == (published > 0)


def test_a_sink_that_wakes_up_late_leaves_an_operators_reset_alone(sink_rig: SinkRig) -> None:
    publish_walk(sink_rig, 1)
    frozen = sink_rig.start_process(PAGESTREAM_FREEZE_AT="sink.committed")
    wait_until_frozen(frozen)
    wait_until(lambda: not sink_rig.cluster.members(sink_rig.group()), "its session to end")
    sink_rig.operator_sets(("pages", PLACE, 0), ("walks", PLACE, 7))

    frozen.send_signal(signal.SIGCONT)

    # It joins the group again, and only then comes upon what was reset: forward, in one topic.
    assert frozen.wait(60) == ConfigurationError.exit_code
    assert sink_rig.committed("walks", PLACE) == Committed(7)
    assert sink_rig.committed("pages", PLACE) == Committed(0)
    assert sink_rig.figures() == {1: {"created": 60, "deleted": 1}}


def test_a_sink_refuses_before_it_obeys(walked_sink: SinkRig) -> None:
    walked_sink.operator_sets(("pages", PLACE, 0), ("walks", PLACE, 9))
    assert isinstance(RunningSink(walked_sink.settings).ended(), ConfigurationError)
    assert walked_sink.position("pages", PLACE)["next_offset"] == PAGES
    assert walked_sink.committed("pages", PLACE) == Committed(0)
