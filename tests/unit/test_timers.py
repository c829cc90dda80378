"""Timers: at their time, never later than their span, whatever the clock of the wall says."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from producer.decide import Timer
from producer.timers import AGAIN_SECONDS, Timers
from schemas.commands import StartWalk
from schemas.tables import Table

ALAMEDA = Table("alameda.ca", "minutes")
NUMBER = ALAMEDA.partition
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Clocks:
    """Time that passes when it is told to, on a wall and on a watch."""

    def __init__(self) -> None:
        self.wall = NOW
        self.watch = 1000.0
        self.timers = Timers(lambda: self.wall, lambda: self.watch)

    def passes(self, seconds: float) -> None:
        self.watch += seconds
        self.wall += timedelta(seconds=seconds)

    def jumps(self, seconds: float) -> None:
        """Set the clock on the wall."""
        self.wall += timedelta(seconds=seconds)

    def arm(self, *timers: Timer, table: Table = ALAMEDA) -> None:
        self.timers.arm(table.partition, table, timers)

    def gone_off(self, most: int = 100) -> list[str]:
        return [armed.command.command_id for armed in self.timers.gone_off(most)]  # type: ignore[attr-defined]  # all are requests


def timer(name: str, after: float, seconds: float, table: Table = ALAMEDA) -> Timer:
    """Return a timer for `after` seconds from noon, with a span of `seconds`."""
    at = NOW + timedelta(seconds=after)
    command = StartWalk(
        site=table.site, kind=table.kind, command_id=name, sent_by="timer", sent_at=at, due_at=at
    )
    return Timer(at=at, seconds=seconds, command=command)


def test_it_goes_off_at_its_time_and_not_before() -> None:
    clocks = Clocks()
    clocks.arm(timer("retry", 2.0, 2.0))
    clocks.passes(1.9)
    assert clocks.gone_off() == []
    clocks.passes(0.1)
    assert clocks.gone_off() == ["retry"]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_while_it_waits_changes_nothing(jump: float) -> None:
    clocks = Clocks()
    clocks.arm(timer("walk", 60.0, 86_400.0))
    clocks.jumps(jump)
    clocks.passes(59.0)
    assert clocks.gone_off() == []
    clocks.passes(1.0)
    assert clocks.gone_off() == ["walk"]


def test_a_clock_set_back_before_it_was_set_delays_it_by_its_span_at_most() -> None:
    clocks = Clocks()
    clocks.jumps(-3600.0)
    clocks.arm(timer("retry", 2.0, 2.0))
    clocks.passes(2.0)
    assert clocks.gone_off() == ["retry"]


def test_a_time_that_has_passed_is_made_up_for_at_once() -> None:
    clocks = Clocks()
    clocks.jumps(3600.0)
    clocks.arm(timer("walk", 60.0, 86_400.0))
    assert clocks.gone_off() == ["walk"]


def test_the_timers_of_a_newer_state_take_the_place_of_the_old() -> None:
    clocks = Clocks()
    clocks.arm(timer("retry", 2.0, 2.0))
    clocks.arm(timer("walk", 3.0, 86_400.0))
    clocks.passes(2.5)
    assert clocks.gone_off() == []
    clocks.arm()
    clocks.passes(86_400.0)
    assert clocks.gone_off() == []


def test_a_newer_state_does_not_put_off_what_it_still_waits_for() -> None:
    clocks = Clocks()
    clocks.jumps(-3600.0)
    for _ in range(10):
        clocks.arm(timer("verdict", 900.0, 900.0))
        clocks.passes(90.0)
    assert clocks.gone_off() == ["verdict"]


def test_it_goes_off_again_only_after_its_span_and_not_too_soon() -> None:
    clocks = Clocks()
    clocks.arm(timer("retry", 1.0, 1.0), timer("walk", 1.0, 300.0))
    clocks.passes(1.0)
    assert clocks.gone_off() == ["retry", "walk"]
    clocks.passes(AGAIN_SECONDS - 1)
    assert clocks.gone_off() == []
    clocks.passes(1.0)
    assert clocks.gone_off() == ["retry"]
    clocks.passes(300.0 - AGAIN_SECONDS)
    assert clocks.gone_off() == ["retry", "walk"]


def test_what_may_not_have_been_given_goes_off_again_soon() -> None:
    clocks = Clocks()
    clocks.arm(timer("walk", 1.0, 86_400.0))
    clocks.passes(1.0)
    given = clocks.timers.gone_off(100)
    clocks.timers.not_given(given)
    assert clocks.gone_off() == []
    clocks.passes(2.0)
    assert clocks.gone_off() == ["walk"]
    clocks.passes(86_399.0)
    assert clocks.gone_off() == []


def test_what_was_not_given_and_is_not_wanted_any_more_stays_away() -> None:
    clocks = Clocks()
    clocks.arm(timer("walk", 1.0, 86_400.0))
    clocks.passes(1.0)
    given = clocks.timers.gone_off(100)
    clocks.arm()
    clocks.timers.not_given(given)
    clocks.passes(86_400.0)
    assert clocks.gone_off() == []


def test_many_at_once_go_off_in_their_order_and_a_few_at_a_time() -> None:
    clocks = Clocks()
    tables = [Table(f"site-{number}", "agenda") for number in range(250)]
    for place, table in enumerate(tables):
        clocks.arm(timer(f"{place}", -place, 86_400.0, table), table=table)
    clocks.passes(1.0)
    turns = list(until_empty(clocks))
    assert [len(turn) for turn in turns] == [100, 100, 50]
    assert sorted(int(name) for turn in turns for name in turn) == list(range(250))


def until_empty(clocks: Clocks) -> Iterable[list[str]]:
    while turn := clocks.gone_off():
        yield turn


def test_a_partition_that_is_not_ours_any_more_has_no_timers() -> None:
    clocks = Clocks()
    elsewhere = Table("site-1", "agenda")
    assert elsewhere.partition != NUMBER
    clocks.arm(timer("mine", 1.0, 60.0, elsewhere), table=elsewhere)
    clocks.arm(timer("theirs", 1.0, 60.0))
    clocks.timers.disarm(NUMBER)
    clocks.passes(1.0)
    assert clocks.gone_off() == ["mine"]
