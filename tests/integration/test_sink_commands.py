"""`pagestream sink`: where the sink stands, how to put it back, and how over a gap."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from fix_sink import SinkRig, wait_until
from fix_sink_resets import LIFE, PLACE, publish_aged, publish_walk
from samples import SITE, dead_letter, now, page

from consumers.sink.positions import MARK
from pagestream import resetting
from pagestream.cli.app import run
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Committed, Partition, outgoing
from schemas.codec import decode
from schemas.commands import StartWalk
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS, DEAD_LETTERS
from schemas.walks import WalkState

PAGES_HERE = ["--topic", "pages", "--partition", str(PLACE)]
Sink = Callable[..., int]


@pytest.fixture
def sink(
    sink_rig: SinkRig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Sink:
    """`pagestream sink …` on the test's own servers: returns the exit code."""
    for name, value in sink_rig.environment().items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> int:
        capsys.readouterr()
        return run(["sink", *arguments])

    return call


def neighbour(place: int, nth: int = 0) -> str:
    """Return another site whose minutes share the partition."""
    sites = (f"town-{number}.ca" for number in range(10_000))
    sharing = (site for site in sites if Table(site, "minutes").partition == place)
    return next(islice(sharing, nth, None))


def commands(rig: SinkRig) -> list[StartWalk]:
    places = [Partition(COMMANDS.name, number) for number in range(PARTITIONS)]
    with LogReader(rig.settings) as reader:
        found = [
            decode(record.type_header, record.value)
            for record in reader.read(rig.cluster.ends(places), seconds=20)
        ]
    assert all(isinstance(command, StartWalk) for command in found)
    return [command for command in found if isinstance(command, StartWalk)]


def described(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_forward_reset_is_left_out_knowingly(
    sink_rig: SinkRig, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    other = neighbour(PLACE)
    sink_rig.publish(page("a"), page("b", other), page("c"))
    sink_rig.publish(
        WalkState(site=SITE, kind="minutes", status="completed", walk=1),
        WalkState(site=SITE, kind="agenda", status="completed", walk=1),
        WalkState(site=other, kind="minutes", status="in_progress", walk=3),
        WalkState(site=neighbour(PLACE, 1), kind="minutes"),
        WalkState(site=neighbour(PLACE, 2), kind="minutes", status="removed", walk=1),
    )
    sink_rig.operator_sets(("pages", PLACE, 2))

    assert sink("describe", *PAGES_HERE, "--json") == 0
    (standing,) = described(capsys)["partitions"]
    assert (standing["position"], standing["committed"], standing["behind"]) == (None, 2, 3)
    assert standing["committed_by"] == "operator"
    assert "refuse to start" in standing["note"]
    assert sink("skip", *PAGES_HERE) == 0
    assert f"Full walks were asked for: {SITE}/minutes, {other}/minutes" in capsys.readouterr().out

    asked = {(command.site, command.kind, command.mode) for command in commands(sink_rig)}
    assert asked == {(SITE, "minutes", "full"), (other, "minutes", "full")}
    gap = sink_rig.one("SELECT * FROM pagestream.sink_gap")
    assert (gap["from_offset"], gap["to_offset"]) == (None, 2)
    assert gap["reason"] == "the offset was reset forward"
    assert sink_rig.committed("pages", PLACE) == Committed(2, MARK)
    with sink_rig.running() as running:
        sink_rig.settle(running)
    assert sink_rig.ids() == ["c"]
    assert sink("describe", *PAGES_HERE, "--json") == 0
    assert described(capsys)["gaps"][0]["walked"] == [f"{SITE}/minutes", f"{other}/minutes"]


def test_a_forward_reset_can_be_taken_back(sink_rig: SinkRig, sink: Sink) -> None:
    sink_rig.publish(page("a"), page("b"), page("c"))
    sink_rig.operator_sets(("pages", PLACE, 2))
    assert sink("reset", *PAGES_HERE, "--to-offset", "0") == 0
    with sink_rig.running() as running:
        sink_rig.settle(running)
    assert sink_rig.ids() == ["a", "b", "c"]


def test_the_end_of_a_log_that_became_shorter_is_gone_on_from(
    walked_sink: SinkRig, sink: Sink
) -> None:
    walked_sink.do("UPDATE pagestream_1.sink_position SET next_offset = 130, applied_to = 130")
    assert sink("skip", *PAGES_HERE) == 0
    assert walked_sink.position("pages", PLACE) == {"next_offset": 124, "applied_to": 124}
    assert walked_sink.one("SELECT from_offset FROM pagestream.sink_gap") == {"from_offset": 130}
    walked_sink.publish(page("new", walk=3))
    with walked_sink.running() as running:
        walked_sink.settle(running)
    assert walked_sink.figures()[3] == {"created": 1}


def test_an_old_backup_is_gone_on_from(walked_sink: SinkRig, sink: Sink) -> None:
    publish_aged(walked_sink, LIFE)
    walked_sink.do("UPDATE pagestream_1.sink_position SET caught_up_at = now() - %s", LIFE)
    assert sink("skip", *PAGES_HERE) == 0
    with walked_sink.running() as running:
        walked_sink.settle(running)
    assert walked_sink.figures()[3] == {"created": 1}
    assert "deletions" in walked_sink.one("SELECT reason FROM pagestream.sink_gap")["reason"]


def test_a_gap_in_another_topic_walks_nothing(
    sink_rig: SinkRig, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [dead_letter("a"), dead_letter("b")]
    key = Table(SITE, "minutes").record_key
    sink_rig.publish(*(outgoing(DEAD_LETTERS, key(m.identity), PLACE, m) for m in made))
    sink_rig.publish(WalkState(site=SITE, kind="minutes", walk=1, status="completed"))
    sink_rig.apply_published()
    sink_rig.do("UPDATE pagestream_1.sink_position SET next_offset = 0 WHERE topic ~ 'dead'")
    sink_rig.delete_records("dead-letters", PLACE, before=1)

    assert sink("skip", "--topic", "dead-letters", "--partition", str(PLACE)) == 0

    assert "No page is missing." in capsys.readouterr().out
    assert commands(sink_rig) == []
    assert sink_rig.position("dead-letters", PLACE) == {"next_offset": 1, "applied_to": 2}


def test_nothing_is_left_out_without_a_reason(
    walked_sink: SinkRig, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in [], ["--to-offset", "124"], ["--to-offset", "125"]:
        assert sink("skip", *PAGES_HERE, *arguments) == 1
        assert f"pages/{PLACE}" in capsys.readouterr().err
    assert not walked_sink.rows("SELECT FROM pagestream.sink_gap")


def test_a_reset_is_for_the_sinks_next_start(
    walked_sink: SinkRig, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["--partition", str(PLACE)]
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}"
    targets: list[tuple[list[str], int | None]] = [
        ([*here, "--to-offset", "124"], None),
        (["--all", "--to-datetime", tomorrow], None),
        (["--all", "--to-datetime", yesterday], 0),
        ([*here, "--to-offset", "62"], 62),
        ([*here, "--partition", "0", "--to-earliest"], 0),
        ([*here, "--to-offset", "124"], 124),
        (["--all", "--to-earliest"], 0),
    ]
    for target, offset in targets:
        assert sink("reset", "--topic", "pages", *target, "--json") == 0
        expected = {"topic": "pages", "partition": PLACE, "position": 124, "offset": offset}
        assert described(capsys) == ([] if offset is None else [expected])
        assert walked_sink.committed("pages", PLACE) == Committed(offset)
    assert sink("describe", *PAGES_HERE) == 0
    assert "goes back to 0" in capsys.readouterr().out


def test_a_reset_forward_is_refused_at_once(
    walked_sink: SinkRig, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sink("reset", *PAGES_HERE, "--to-offset", "125") == 78
    assert "pagestream sink skip" in capsys.readouterr().err
    assert walked_sink.committed("pages", PLACE).offset is None


@pytest.mark.parametrize(
    "wrong", [["--all", "--partition", "1", "--to-earliest"], ["--to-earliest"], ["--all"]]
)
def test_a_reset_must_say_what_and_where_to(wrong: list[str]) -> None:
    assert run(["sink", "reset", "--topic", "pages", *wrong]) == 2


def test_a_working_sink_is_reset_once_it_has_stopped(
    sink_rig: SinkRig,
    sink: Sink,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish_walk(sink_rig, 1)
    with sink_rig.running() as running:
        sink_rig.settle(running)
        before, figures = sink_rig.fingerprint(), sink_rig.figures()
        with monkeypatch.context() as impatient:
            impatient.setattr(resetting, "_SESSION_SECONDS", 0.3)
            assert sink("reset", "--topic", "pages", "--all", "--to-earliest") == 75
        assert "stop the sinks first" in capsys.readouterr().err
    asked_at = now()
    assert sink("reset", "--topic", "pages", "--all", "--to-earliest") == 0
    assert now() - asked_at < timedelta(seconds=20)
    with sink_rig.running() as running:
        sink_rig.settle(running)
        wait_until(lambda: sink_rig.committed("pages", PLACE) == Committed(62, MARK), "the mark")
        applied = running.metrics.registry.get_sample_value(
            "pagestream_records_applied_total", {"topic": "pages"}
        )
    assert applied == 62
    assert sink_rig.figures() == figures
    assert [row["id"] for row in sink_rig.fingerprint()] == [row["id"] for row in before]
