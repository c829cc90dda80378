"""Where the sink may go on: every rule, without a server."""

from datetime import timedelta

import pytest

from consumers.batches import Position
from consumers.sink.examining import (
    TOMBSTONE_LIVES,
    Log,
    check_age,
    check_inside,
    is_old,
    unmirrored,
    wanted,
)
from consumers.sink.positions import MARK, Step
from runtime.errors import ConfigurationError
from runtime.kafka.records import Committed, Partition, Record

PLACE = Partition("pages", 7)
LOG = Log(10, 100)
AT_50 = Position(50, 80)
LIFE = TOMBSTONE_LIVES["pages"]
NOW = 1_800_000_000.0


def record(offset: int, age: timedelta) -> Record:
    timestamp = int((NOW - age.total_seconds()) * 1000)
    return Record("pages", 7, offset, "key", b"", {}, timestamp)


@pytest.mark.parametrize("committed", [None, 10, 50, 60, 5, 1000])
def test_what_the_sink_has_committed_itself_is_never_a_reset(committed: int | None) -> None:
    assert wanted(PLACE, AT_50, LOG, Committed(committed, MARK)) is None
    assert wanted(PLACE, Position(), LOG, Committed(committed, MARK)) is None


@pytest.mark.parametrize("metadata", [None, "", "applied by the sink of another"])
def test_an_unmarked_offset_before_the_position_is_obeyed(metadata: str | None) -> None:
    assert wanted(PLACE, AT_50, LOG, Committed(10, metadata)) == Step(50, 10, caught_up=False)
    assert wanted(PLACE, Position(100, 100), LOG, Committed(49)) == Step(100, 49, caught_up=True)


@pytest.mark.parametrize("position", [AT_50, Position(100, 100), Position()])
def test_an_unmarked_offset_beyond_the_position_is_refused(position: Position) -> None:
    applied = position.next_offset or LOG.start
    with pytest.raises(ConfigurationError, match="pagestream sink skip --topic pages --part") as e:
        wanted(PLACE, position, LOG, Committed(applied + 1))
    assert "\n" not in str(e.value)
    assert f"sink reset --topic pages --partition 7 --to-offset {applied}" in str(e.value)


def test_a_reset_to_where_the_log_has_nothing_any_more_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"log begins at 10 .* --to-offset 10"):
        wanted(PLACE, AT_50, LOG, Committed(9))


@pytest.mark.parametrize(
    ("position", "offset"), [(AT_50, 50), (AT_50, None), (Position(), 10), (Position(), 3)]
)
def test_there_is_nothing_to_obey_where_the_sink_stands(
    position: Position, offset: int | None
) -> None:
    assert wanted(PLACE, position, LOG, Committed(offset)) is None


@pytest.mark.parametrize(("at", "words"), [(101, "Kafka has lost"), (9, "Kafka has deleted")])
def test_a_position_outside_the_log_is_refused_with_the_command(at: int, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as error:
        check_inside(PLACE, Position(at), LOG)
    assert "`pagestream sink skip --topic pages --partition 7`" in str(error.value)


@pytest.mark.parametrize("at", [None, 10, 50, 100])
def test_a_position_inside_the_log_is_good(at: int | None) -> None:
    check_inside(PLACE, Position(at), LOG)


def test_only_a_position_that_has_not_seen_the_end_for_long_is_old() -> None:
    assert is_old(PLACE, Position(50, 50, LIFE), LOG)
    assert not is_old(PLACE, Position(50, 50, LIFE - timedelta(seconds=1)), LOG)
    assert not is_old(PLACE, Position(100, 100, LIFE), LOG)
    assert not is_old(PLACE, Position(), LOG)
    assert not is_old(Partition("walks", 7), Position(50, 50, LIFE), LOG)


@pytest.mark.parametrize(
    "beyond", [None, record(50, timedelta(0)), record(50, LIFE - timedelta(seconds=1))]
)
def test_an_old_position_is_good_where_nothing_can_have_been_deleted(beyond: Record | None) -> None:
    check_age(PLACE, Position(50, 50, LIFE), beyond, NOW)


@pytest.mark.parametrize("beyond", [record(50, LIFE), record(51, timedelta(0))])
def test_an_old_position_is_refused_where_deletions_may_be_gone(beyond: Record) -> None:
    with pytest.raises(ConfigurationError, match=r"30 days ago.* for 30 days: some"):
        check_age(PLACE, Position(50, 50, LIFE), beyond, NOW)


def test_what_kafka_does_not_show_is_to_be_committed() -> None:
    places = [Partition("pages", number) for number in range(4)]
    stand = dict(zip(places, [Position(5), Position(5), Position(5), Position()], strict=True))
    shown = [Committed(5, MARK), Committed(5), Committed(9, MARK), Committed(None)]
    assert unmirrored(stand, dict(zip(places, shown, strict=True))) == {places[1]: 5, places[2]: 5}
