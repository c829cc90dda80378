"""Timers on a real broker: retries, next walks, verdicts; across crashes and clocks that jump."""

import signal
import time

import pytest
from accounting import Account
from fix_walker import ROWS, WalkerRig, ended_by, is_over, neighbours

from producer.giving import HEAL_AFTER_SECONDS
from runtime.kafka.records import outgoing
from schemas.commands import AddSite, StartWalk
from schemas.events import CommandAnswered, VerdictGiven, WalkStarted
from schemas.records import Municipality
from schemas.tables import Table
from schemas.topics import COMMANDS, LEDGER

ALAMEDA = Table("alameda.ca", "minutes")
PAGES_OF_SOURCE = 60
EVERY = 3.0
LATEST = 1.1 * EVERY + 2.0
"""Seconds until the next walk must have begun: its rhythm with jitter, and what is promised."""

HOUR = 3600.0


def assert_replayed(rig: WalkerRig) -> None:
    """Stop what runs, and decide all again."""
    rig.stop()
    Account(rig).assert_replayed()


def walk_often(rig: WalkerRig) -> None:
    rig.set(incremental_every=EVERY, full_every=None, verify_every=None)


def wait_for_walk(rig: WalkerRig, walk: int) -> None:
    """Wait for a walk to begin, no longer than a rhythm may last."""
    rig.wait_for(ALAMEDA, lambda state: state.walk >= walk, LATEST)


def walks(rig: WalkerRig) -> list[int]:
    return [m.walk for m in rig.messages(LEDGER) if isinstance(m, WalkStarted)]


# Retries


def test_a_step_that_fails_is_tried_again_after_a_while_until_it_succeeds(
    walker_rig: WalkerRig,
) -> None:
    with walker_rig.source.failing(ALAMEDA):
        walker_rig.begin(ALAMEDA)
        walker_rig.start(PAGES_OF_SOURCE)
        waited = walker_rig.wait_for(ALAMEDA, lambda state: state.attempt == 2, 10)
        assert waited.status == "in_progress"
        assert waited.retry_seconds == 2.0
    assert walker_rig.wait_for(ALAMEDA, is_over).status == "unverified"
    assert walker_rig.source.asked(ALAMEDA)[:4] == ["1 0 0", "1 0 1", "1 0 2", "1 1 0"]
    assert_replayed(walker_rig)


@pytest.mark.parametrize("jump", [0.0, -HOUR, HOUR])
def test_killed_while_a_retry_waits_it_goes_on_counting_where_it_was(
    walker_rig: WalkerRig, jump: float
) -> None:
    walker_rig.set(retry_waits=(1.0, 4.0))
    with walker_rig.source.failing(ALAMEDA):
        walker_rig.begin(ALAMEDA)
        killed = walker_rig.start(PAGES_OF_SOURCE)
        walker_rig.wait_for(ALAMEDA, lambda state: state.attempt == 2, 10)
        killed.kill()
        ended_by(killed, -signal.SIGKILL)
        walker_rig.source.set_clock(jump)
        walker_rig.start(PAGES_OF_SOURCE)
        failed = walker_rig.wait_for(ALAMEDA, is_over, 12)
    assert (failed.status, failed.attempt) == ("failed", 2)
    assert walker_rig.source.asked(ALAMEDA) == ["1 0 0", "1 0 1", "1 0 2"]
    assert_replayed(walker_rig)


def test_a_retry_goes_past_neighbours_and_requests(walker_rig: WalkerRig) -> None:
    failing, hanging = neighbours(5, 2)
    with walker_rig.source.failing(failing), walker_rig.source.hanging(hanging):
        walker_rig.begin(failing, hanging)
        walker_rig.start(PAGES_OF_SOURCE)
        walker_rig.source.wait_until_asked(hanging)
        sent = walker_rig.send(AddSite, failing, municipality=Municipality(site=failing.site))
        assert walker_rig.answer(failing, sent, 2).answer == "done"
    for table in (failing, hanging):
        assert walker_rig.wait_for(table, is_over).status == "unverified"
    assert_replayed(walker_rig)


def test_a_retry_is_given_at_its_time_and_not_by_healing(walker_rig: WalkerRig) -> None:
    """Its partition is silent for longer than after which lost commands are given again."""
    wait = HEAL_AFTER_SECONDS + 2.0
    walker_rig.set(retry_waits=(wait,))
    with walker_rig.source.failing(ALAMEDA):
        walker_rig.begin(ALAMEDA)
        walker_rig.start(PAGES_OF_SOURCE)
        walker_rig.wait_for(ALAMEDA, lambda state: state.attempt == 1)
        failed_at = time.monotonic()
        walker_rig.source.wait_until_asked(ALAMEDA, 2)
        assert time.monotonic() - failed_at > wait - 1.0
        assert walker_rig.wait_for(ALAMEDA, is_over).status == "failed"
    assert_replayed(walker_rig)


# Next walks


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_clock_that_jumps_neither_delays_the_next_walks_nor_doubles_them(
    walker_rig: WalkerRig, jump: float
) -> None:
    walk_often(walker_rig)
    began = time.monotonic()
    walker_rig.begin(ALAMEDA)
    walker_rig.start(PAGES_OF_SOURCE)
    wait_for_walk(walker_rig, 1)
    walker_rig.source.set_clock(jump)
    wait_for_walk(walker_rig, 2)
    walker_rig.source.set_clock(0)
    wait_for_walk(walker_rig, 3)
    wait_for_walk(walker_rig, 4)
    walker_rig.wait_for(ALAMEDA, lambda state: state.walk >= 4 and is_over(state))
    walker_rig.stop()
    begun = walks(walker_rig)
    assert begun == list(range(1, len(begun) + 1))
    assert len(begun) <= 2 + (time.monotonic() - began) / EVERY + 1
    Account(walker_rig).assert_replayed()


@pytest.mark.parametrize("jump", [0.0, -HOUR, HOUR])
def test_killed_while_the_next_walk_waits_it_begins_all_the_same(
    walker_rig: WalkerRig, jump: float
) -> None:
    walk_often(walker_rig)
    walker_rig.begin(ALAMEDA)
    killed = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, is_over)
    killed.kill()
    ended_by(killed, -signal.SIGKILL)
    walker_rig.source.set_clock(jump)
    walker_rig.start(PAGES_OF_SOURCE)
    wait_for_walk(walker_rig, 2)
    walker_rig.wait_for(ALAMEDA, lambda state: state.walk >= 2 and is_over(state))
    walker_rig.stop()
    begun = walks(walker_rig)
    assert begun == list(range(1, len(begun) + 1))
    Account(walker_rig).assert_replayed()


def test_a_timer_that_goes_off_twice_begins_one_walk(walker_rig: WalkerRig) -> None:
    walk_often(walker_rig)
    walker_rig.begin(ALAMEDA)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, lambda state: state.walk == 2 and is_over(state))
    (fired,) = [
        m
        for m in walker_rig.messages(COMMANDS)
        if isinstance(m, StartWalk) and m.sent_by == "timer"
    ][:1]
    for _ in range(3):
        walker_rig.publish(outgoing(COMMANDS, ALAMEDA.key, ALAMEDA.partition, fired))
    wait_for_walk(walker_rig, 3)
    walker_rig.stop()
    begun = walks(walker_rig)
    assert begun == list(range(1, len(begun) + 1))
    answers = [
        m.answer
        for m in walker_rig.messages(LEDGER)
        if isinstance(m, CommandAnswered) and m.command_id == fired.command_id
    ]
    assert answers == ["done", "stale", "stale", "stale"]
    Account(walker_rig).assert_replayed()


def test_many_walks_that_are_late_all_begin_and_none_twice(walker_rig: WalkerRig) -> None:
    """More than one turn of the loop gives, after a night in which nobody walked."""
    walker_rig.set(incremental_every=HOUR, full_every=None, verify_every=None)
    tables = [Table(f"site-{number}", "agenda") for number in range(120)]
    for table in tables:
        walker_rig.send(AddSite, table, municipality=Municipality(site=table.site))
    first = walker_rig.start(ROWS)
    for table in tables:
        walker_rig.wait_for(table, lambda state: state.next_walk_at is not None)
    first.send_signal(signal.SIGTERM)
    ended_by(first, 0)
    walker_rig.source.set_clock(2 * HOUR)
    walker_rig.start(ROWS)
    for table in tables:
        assert walker_rig.wait_for(table, is_over).walk == 1
    walker_rig.stop()
    started = [m for m in walker_rig.messages(LEDGER) if isinstance(m, WalkStarted)]
    assert sorted(m.table.key for m in started) == sorted(table.key for table in tables)
    Account(walker_rig).assert_replayed()


# Verdicts


@pytest.mark.parametrize("jump", [0.0, -HOUR, HOUR])
def test_a_walk_that_nobody_judges_ends_in_time_across_a_crash(
    walker_rig: WalkerRig, jump: float
) -> None:
    walker_rig.set(verdict_timeout=3.0)
    walker_rig.begin(ALAMEDA)
    killed = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, lambda state: state.status == "verifying")
    killed.kill()
    ended_by(killed, -signal.SIGKILL)
    walker_rig.source.set_clock(jump)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, lambda state: state.walk == 2, 3.0 + 4.0)
    walker_rig.stop()
    verdicts = [m for m in walker_rig.messages(LEDGER) if isinstance(m, VerdictGiven)]
    assert [(m.walk, m.verdict.outcome) for m in verdicts][:1] == [(1, "unverifiable")]
    Account(walker_rig).assert_replayed()
