"""Triggers that come all at once, and a clock that jumps.

`PAGESTREAM_TEST_TRIGGERS=10000` sends so many during one walk, instead of some hundreds: with
`--timeout 1200`.
"""

import os
import threading
from typing import Final

import pytest
from fault_source import nth, refusing, until
from fix_faults import ROWS, FaultRig, answer_to
from fix_source import SourceSite

from runtime.kafka.records import Partition
from schemas.commands import SetSchedule, StartWalk
from schemas.events import CommandAnswered, WalkEnded, WalkStarted
from schemas.topics import COMMANDS, LEDGER, WALKS
from schemas.walks import Schedule

TRIGGERS: Final = int(os.environ.get("PAGESTREAM_TEST_TRIGGERS", "300"))
HOUR: Final = 3600.0
TOO_MANY: Final = refusing(402, {"error": "rate_limit_exceeded"})


def test_two_triggers_at_once_are_one_walk_and_one_follow_up(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 36-two-at-once."""
    table, _ = fault_rig.plot(quiet_site)
    fault_rig.add(table)
    sent = [fault_rig.send(StartWalk, table, rows=ROWS) for _ in range(2)]
    fault_rig.ends(table, walk=2)
    walked = fault_rig.walked(table)
    assert [event.walk for event in walked.of(WalkStarted)] == [1, 2]
    answers = [answer_to(fault_rig, table, one).reason for one in sent]
    assert answers == ["walk 1 started", "waits as the follow-up of walk 1"]
    assert walked.ids == 2 * [row["id"] for row in quiet_site.rows("minutes")]


def test_two_triggers_that_saw_the_same_walk_are_one_walk(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 36-two-alike: whoever says after which walk is late when another has begun."""
    table, _ = fault_rig.plot(quiet_site)
    fault_rig.add(table)
    sent = [fault_rig.send(StartWalk, table, rows=ROWS, after_walk=0) for _ in range(2)]
    fault_rig.ends(table)
    assert [answer_to(fault_rig, table, one).answer for one in sent] == ["done", "stale"]
    fault_rig.assert_whole(table, quiet_site.rows("minutes"))


def test_triggers_during_a_walk_are_one_follow_up_however_many_they_are(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Rows 36-during-a-walk and 36-ten-thousand: each is answered, and none waits for the source.

    Each leaves its answer and a state in the log, and the step under way is put back behind them
    at most once for each: the log grows by no more than a constant for each trigger.
    """
    table, plot = fault_rig.plot(quiet_site, source_read_timeout=3600, source_deadline=3600)
    goes_on = threading.Event()
    plot.trouble(nth(2), until(goes_on))
    fault_rig.begin_walk(table)
    fault_rig.wait_for(table, lambda state: state.steps == 1)
    places = [Partition(topic.name, table.partition) for topic in (COMMANDS, LEDGER, WALKS)]
    before = fault_rig.cluster.ends(places)
    sent = [fault_rig.send(StartWalk, table, rows=ROWS) for _ in range(TRIGGERS)]
    answer_to(fault_rig, table, sent[-1], seconds=60 + TRIGGERS / 10)
    waiting = fault_rig.state(table)
    assert waiting is not None
    assert (waiting.walk, waiting.steps, waiting.follow_up is None) == (1, 1, False)
    grown = [after - before[place] for place, after in fault_rig.cluster.ends(places).items()]
    # A transaction's marker takes an offset of its own.
    assert all(more <= 4 * TRIGGERS + 100 for more in grown)
    assert len(waiting.recent) <= 16

    goes_on.set()
    fault_rig.ends(table, walk=2)
    walked = fault_rig.walked(table)
    answers = [e.answer for e in walked.of(CommandAnswered) if e.command_id in set(sent)]
    assert answers == ["done"] * TRIGGERS
    assert [event.walk for event in walked.of(WalkStarted)] == [1, 2]
    assert [event.walk for event in walked.of(WalkEnded)] == [1, 2]
    assert walked.ids == 2 * [row["id"] for row in quiet_site.rows("minutes")]
    assert plot.count(nth(2)) == 2


JUMPS: Final = {"37-forward": HOUR, "37-back": -HOUR}


@pytest.mark.parametrize("seconds", JUMPS.values(), ids=JUMPS)
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_a_clock_that_jumps_neither_hastens_nor_delays_a_retry(
    fault_rig: FaultRig, quiet_site: SourceSite, seconds: float, *, restarted: bool
) -> None:
    """The minute after a refusal is waited in full, and no hour is.

    A walker started after a clock was set on may ask sooner: its memory of the minute is gone.
    """
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(nth(2), TOO_MANY, times=1)
    fault_rig.begin_walk(table)
    fault_rig.wait_for(table, lambda state: state.refusals == 1)
    fault_rig.time.jump(seconds)
    if restarted:
        fault_rig.run()
    try:
        with fault_rig.time.hurried(50):
            fault_rig.ends(table)
    finally:
        fault_rig.time.jump(-seconds)
    fault_rig.assert_whole(table, quiet_site.rows("minutes"))
    refused, again = (r.at for r in plot.requests if nth(2)(r))
    assert again - refused < HOUR
    assert again - refused >= 61 or (restarted and seconds > 0)


def test_a_clock_set_back_delays_no_walk_by_schedule(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 37-schedule: the next walk comes after its span at the latest, and a tenth."""
    table, plot = fault_rig.plot(quiet_site)
    fault_rig.begin_walk(table)
    fault_rig.ends(table)
    every = Schedule(verify_every=600.0)
    answer_to(fault_rig, table, fault_rig.send(SetSchedule, table, schedule=every))
    began = fault_rig.time.monotonic()
    fault_rig.time.jump(-HOUR)
    try:
        with fault_rig.time.hurried(500):
            fault_rig.ends(table, walk=2)
    finally:
        fault_rig.time.jump(HOUR)
    assert fault_rig.walked(table).of(WalkStarted)[-1].mode == "verify"
    first = plot.requests[-1].at
    assert first - began + 60 >= 600
    assert first - began < HOUR
    answer_to(fault_rig, table, fault_rig.send(SetSchedule, table, schedule=Schedule()))
