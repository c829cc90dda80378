"""Requests take hold at once, whatever the source does: they never wait for its responses."""

import signal
from collections import Counter
from typing import Any

import pytest
from accounting import Account
from fix_walker import ROWS, WalkerRig, ended_by, is_over, neighbours

from runtime.crashpoints import CRASH_POINTS
from schemas.commands import (
    AddSite,
    CancelWalk,
    PauseWalk,
    PrunePages,
    RemoveSite,
    Request,
    ResumeWalk,
    StartWalk,
    TakeStep,
)
from schemas.events import CommandAnswered
from schemas.records import Municipality, SiteRemoved
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS, LEDGER, PAGES

ALAMEDA, BERKELEY, CLAYTON = neighbours(5, 3)
"""Tables of one partition."""

PAGES_OF_SOURCE = 60
PROMISED_SECONDS = 2.0
POINTS = [point for point in CRASH_POINTS if point.startswith("walker.")]

REQUESTS: dict[str, tuple[type[Request], dict[str, Any]]] = {
    "pause": (PauseWalk, {"walk": 1}),
    "cancel": (CancelWalk, {"walk": 1}),
    "start": (StartWalk, {"rows": ROWS}),
    "add": (AddSite, {"municipality": Municipality(site=ALAMEDA.site)}),
}


def assert_walked_as_if_undisturbed(rig: WalkerRig, *tables: Table) -> None:
    for table in tables:
        assert rig.wait_for(table, is_over).status == "unverified"
    account = Account(rig)
    for table in tables:
        account.assert_walked_once(table, PAGES_OF_SOURCE, ROWS)
    account.assert_replayed()


def first_steps(rig: WalkerRig) -> Counter[str]:
    """Return how often the first step of each table is in the log of commands."""
    return Counter(
        m.table.key for m in rig.messages(COMMANDS) if isinstance(m, TakeStep) and m.step == 0
    )


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_request_takes_hold_while_its_own_tables_response_is_waited_for(
    walker_rig: WalkerRig, request_name: str
) -> None:
    command, fields = REQUESTS[request_name]
    with walker_rig.source.hanging(ALAMEDA):
        walker_rig.begin(ALAMEDA)
        walker = walker_rig.start(PAGES_OF_SOURCE)
        walker_rig.source.wait_until_asked(ALAMEDA)
        sent = walker_rig.send(command, ALAMEDA, **fields)
        answer = walker_rig.answer(ALAMEDA, sent, PROMISED_SECONDS)
        assert answer.answer == "done"
        assert walker_rig.source.asked(ALAMEDA) == ["1 0 0"]
        walker.send_signal(signal.SIGTERM)
        ended_by(walker, 0)
    Account(walker_rig).assert_replayed()


def test_a_request_takes_hold_while_its_neighbours_responses_are_waited_for(
    walker_rig: WalkerRig,
) -> None:
    with walker_rig.source.hanging(ALAMEDA, BERKELEY, CLAYTON):
        walker_rig.begin(ALAMEDA, BERKELEY)
        walker_rig.start(PAGES_OF_SOURCE)
        for table in (ALAMEDA, BERKELEY):
            walker_rig.source.wait_until_asked(table)
        municipality = Municipality(site=CLAYTON.site)
        for command, fields in (
            (AddSite, {"municipality": municipality}),
            (StartWalk, {"rows": ROWS}),
            (PauseWalk, {"walk": 1}),
            (ResumeWalk, {"walk": 1}),
            (CancelWalk, {"walk": 1}),
        ):
            sent = walker_rig.send(command, CLAYTON, **fields)
            assert walker_rig.answer(CLAYTON, sent, PROMISED_SECONDS).answer == "done"
    assert_walked_as_if_undisturbed(walker_rig, ALAMEDA, BERKELEY)
    for table in (ALAMEDA, BERKELEY):
        assert walker_rig.source.asked(table).count("1 0 0") == 1


def test_a_request_would_wait_if_nothing_were_put_back(walker_rig: WalkerRig) -> None:
    """Control arm: the same pause behind the same response."""
    with walker_rig.source.hanging(ALAMEDA):
        walker_rig.begin(ALAMEDA)
        walker_rig.start_broken("no-put-back", PAGES_OF_SOURCE)
        walker_rig.source.wait_until_asked(ALAMEDA)
        sent = walker_rig.send(PauseWalk, ALAMEDA, walk=1)
        with pytest.raises(AssertionError, match="no answer"):
            walker_rig.answer(ALAMEDA, sent, PROMISED_SECONDS)
    assert walker_rig.answer(ALAMEDA, sent).answer == "done"


def test_the_response_that_was_waited_for_is_used_when_it_comes(walker_rig: WalkerRig) -> None:
    with walker_rig.source.hanging(ALAMEDA):
        walker_rig.begin(ALAMEDA)
        walker_rig.start(PAGES_OF_SOURCE)
        walker_rig.source.wait_until_asked(ALAMEDA)
        sent = walker_rig.send(AddSite, ALAMEDA, municipality=Municipality(site=ALAMEDA.site))
        walker_rig.answer(ALAMEDA, sent, PROMISED_SECONDS)
    assert_walked_as_if_undisturbed(walker_rig, ALAMEDA)
    assert walker_rig.source.asked(ALAMEDA).count("1 0 0") == 1
    assert first_steps(walker_rig) == {ALAMEDA.key: 2}


def test_paused_and_resumed_meanwhile_the_source_is_asked_once(walker_rig: WalkerRig) -> None:
    with walker_rig.source.hanging(ALAMEDA):
        walker_rig.begin(ALAMEDA)
        walker_rig.start(PAGES_OF_SOURCE)
        walker_rig.source.wait_until_asked(ALAMEDA)
        for command in (PauseWalk, ResumeWalk) * 3:
            sent = walker_rig.send(command, ALAMEDA, walk=1)
            assert walker_rig.answer(ALAMEDA, sent, PROMISED_SECONDS).answer == "done"
    assert_walked_as_if_undisturbed(walker_rig, ALAMEDA)
    assert walker_rig.source.asked(ALAMEDA).count("1 0 0") == 1


def test_the_response_to_what_is_due_no_longer_is_dropped(walker_rig: WalkerRig) -> None:
    with walker_rig.source.hanging(ALAMEDA):
        walker_rig.begin(ALAMEDA)
        walker_rig.start(PAGES_OF_SOURCE)
        walker_rig.source.wait_until_asked(ALAMEDA)
        sent = walker_rig.send(CancelWalk, ALAMEDA, walk=1)
        walker_rig.answer(ALAMEDA, sent, PROMISED_SECONDS)
    walker_rig.begin(BERKELEY)
    assert walker_rig.wait_for(BERKELEY, is_over).status == "unverified"
    assert_walked_as_if_undisturbed(walker_rig, BERKELEY)
    state = walker_rig.state(ALAMEDA)
    assert state is not None
    assert (state.status, state.pages) == ("cancelled", 0)


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_it_is_put_back_a_step_is_neither_lost_nor_doubled(
    walker_rig: WalkerRig, point: str
) -> None:
    """The third transaction, behind the two requests that begin the walk, puts its step back."""
    with walker_rig.source.hanging(ALAMEDA):
        walker_rig.begin(ALAMEDA)
        killed = walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_CRASH_AT=f"{point}:3")
        walker_rig.source.wait_until_asked(ALAMEDA)
        sent = walker_rig.send(AddSite, ALAMEDA, municipality=Municipality(site=ALAMEDA.site))
        ended_by(killed, -signal.SIGKILL)
        walker_rig.start(PAGES_OF_SOURCE)
        assert walker_rig.answer(ALAMEDA, sent).answer == "done"
        walker_rig.source.wait_until_asked(ALAMEDA, 2)
    assert_walked_as_if_undisturbed(walker_rig, ALAMEDA)
    assert walker_rig.source.asked(ALAMEDA).count("1 0 0") == 2


def test_many_requests_behind_what_hangs_do_not_flood_the_log(walker_rig: WalkerRig) -> None:
    hanging = (ALAMEDA, BERKELEY, CLAYTON)
    with walker_rig.source.hanging(*hanging):
        walker_rig.begin(*hanging)
        walker_rig.start(PAGES_OF_SOURCE)
        for table in hanging:
            walker_rig.source.wait_until_asked(table)
        municipality = Municipality(site=ALAMEDA.site)
        sent = [walker_rig.send(AddSite, ALAMEDA, municipality=municipality) for _ in range(50)]
        assert walker_rig.answer(ALAMEDA, sent[-1]).answer == "done"
        together = first_steps(walker_rig).total()
        for _ in range(10):
            one = walker_rig.send(AddSite, ALAMEDA, municipality=municipality)
            walker_rig.answer(ALAMEDA, one, PROMISED_SECONDS)
        one_by_one = first_steps(walker_rig).total() - together
    assert together <= len(hanging) * (1 + len(sent))
    assert one_by_one <= len(hanging) * 10
    assert_walked_as_if_undisturbed(walker_rig, *hanging)
    assert first_steps(walker_rig).total() <= together + one_by_one + len(hanging)


def test_sites_that_hang_in_forty_partitions_delay_no_other_partition(
    walker_rig: WalkerRig,
) -> None:
    hanging = [table for number in range(40) for table in neighbours(number, 2)]
    others = [table for number in range(40, PARTITIONS) for table in neighbours(number, 1)]
    with walker_rig.source.hanging(*hanging):
        walker_rig.begin(*hanging)
        walker_rig.start(PAGES_OF_SOURCE)
        for table in hanging[::2]:
            walker_rig.source.wait_until_asked(table)
        walker_rig.begin(*others)
        for table in others:
            assert walker_rig.wait_for(table, is_over).status == "unverified"
        asked = sum(len(walker_rig.source.asked(table)) for table in hanging)
        assert asked == 40 + 16
    assert_walked_as_if_undisturbed(walker_rig, hanging[0], hanging[-1], others[0])


def test_a_removed_site_and_pruned_pages_are_said_in_the_topic_of_pages(
    walker_rig: WalkerRig,
) -> None:
    walker_rig.begin(ALAMEDA)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, is_over)
    there, gone = "000000000001", "0000000fffff"
    pruned = walker_rig.send(PrunePages, ALAMEDA, walk=1, round=1, ids=(there, gone))
    assert walker_rig.answer(ALAMEDA, pruned).answer == "done"
    removed = walker_rig.send(RemoveSite, ALAMEDA)
    assert walker_rig.answer(ALAMEDA, removed).answer == "done"
    records = walker_rig.records(PAGES)
    (tombstone,) = [record for record in records if record.value is None]
    assert tombstone.key == ALAMEDA.record_key(gone)
    assert tombstone.headers["type"] == b"Tombstone/1"
    assert tombstone.headers["walk"] == b"1"
    keys = [record.key for record in records[PAGES_OF_SOURCE:]]
    assert keys == [
        ALAMEDA.barrier_key,
        ALAMEDA.record_key(there),
        ALAMEDA.record_key(gone),
        ALAMEDA.barrier_key,
        ALAMEDA.removal_key,
    ]
    assert any(isinstance(m, SiteRemoved) for m in walker_rig.messages(PAGES))
    Account(walker_rig).assert_replayed()


def test_a_repair_that_hangs_lets_requests_pass_too(walker_rig: WalkerRig) -> None:
    walker_rig.begin(ALAMEDA)
    walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.wait_for(ALAMEDA, is_over)
    steps = len(walker_rig.source.asked(ALAMEDA))
    with walker_rig.source.hanging(ALAMEDA):
        pruned = walker_rig.send(PrunePages, ALAMEDA, walk=1, round=1, ids=("0000000fffff",))
        walker_rig.source.wait_until_asked(ALAMEDA, steps + 1)
        added = walker_rig.send(AddSite, ALAMEDA, municipality=Municipality(site=ALAMEDA.site))
        assert walker_rig.answer(ALAMEDA, added, PROMISED_SECONDS).answer == "done"
    assert walker_rig.answer(ALAMEDA, pruned).answer == "done"
    assert len(walker_rig.source.asked(ALAMEDA)) == steps + 1
    answers = [m for m in walker_rig.messages(LEDGER) if isinstance(m, CommandAnswered)]
    assert [answer.command_id for answer in answers].count(pruned) == 1
    Account(walker_rig).assert_replayed()
