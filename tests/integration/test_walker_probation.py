"""A response that kills the walker fails its own walk; and one walker alone where a limit holds."""

import signal
from collections.abc import Iterator

import pytest
from accounting import Account
from fix_process import Process
from fix_walker import ROWS, WalkerRig, ended_by, is_over, neighbours

from producer.probation import MOST_STARTS
from producer.solitude import check_share
from producer.state import read_metadata
from producer.walker import group_name
from runtime.errors import ConfigurationError
from runtime.kafka.records import Partition
from schemas.commands import AddSite
from schemas.records import Municipality
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS
from schemas.walks import WalkState

DEADLY, NEIGHBOUR = neighbours(5, 2)
ELSEWHERE = Table("elsewhere", "agenda")
PAGES_OF_SOURCE = 100
MOST_RESTARTS = 20


def killed(rig: WalkerRig, arm: str | None = None) -> Iterator[Process]:
    """Start a walker again and again, yielding each that was killed, until one lives."""
    for _ in range(MOST_RESTARTS):
        walker = rig.start_broken(arm, PAGES_OF_SOURCE) if arm else rig.start(PAGES_OF_SOURCE)
        if not dies(rig, walker):
            return
        yield walker
    raise AssertionError(f"killed {MOST_RESTARTS} times, and no end of it")


def dies(rig: WalkerRig, walker: Process) -> bool:
    """Wait until this walker is killed, or all that was begun is over."""
    while not all(is_over(state) for state in states(rig)):
        if walker.poll() is not None:
            ended_by(walker, -signal.SIGKILL)
            return True
    return False


def states(rig: WalkerRig) -> list[WalkState]:
    found = (rig.state(table) for table in (DEADLY, NEIGHBOUR, ELSEWHERE))
    return [state or WalkState(site="none", kind="agenda") for state in found]


def noted(rig: WalkerRig) -> dict[str, str]:
    """Return what is committed beside the offset of the deadly table's partition."""
    partition = Partition(COMMANDS.name, DEADLY.partition)
    position = rig.cluster.committed(group_name(rig.settings), [partition])[partition]
    return read_metadata(position.metadata or "")


def test_a_response_that_kills_the_walker_fails_its_own_walk_and_no_other(
    walker_rig: WalkerRig,
) -> None:
    walker_rig.source.kill_at(DEADLY, 2)
    walker_rig.begin(DEADLY, NEIGHBOUR, ELSEWHERE)
    deaths = len(list(killed(walker_rig)))
    assert MOST_STARTS <= deaths <= MOST_STARTS + 2
    failed, *others = states(walker_rig)
    assert (failed.status, failed.steps) == ("failed", 2)
    assert failed.error == "the walker died 5 times in a row when it read this response"
    assert [state.status for state in others] == ["unverified", "unverified"]
    assert "starts" not in noted(walker_rig)
    account = Account(walker_rig)
    for table in (NEIGHBOUR, ELSEWHERE):
        account.assert_walked_once(table, PAGES_OF_SOURCE, ROWS)
    account.assert_replayed()


def test_a_response_that_kills_the_walker_would_do_so_for_ever_if_nobody_counted(
    walker_rig: WalkerRig,
) -> None:
    """Control arm: the count is off."""
    walker_rig.source.kill_at(DEADLY, 2)
    walker_rig.begin(DEADLY, NEIGHBOUR, ELSEWHERE)
    lives = killed(walker_rig, "no-count")
    for _ in range(2 * MOST_STARTS):
        next(lives)
    state = walker_rig.state(DEADLY)
    assert state is not None
    assert (state.status, state.steps) == ("in_progress", 2)


def test_a_response_that_could_be_read_after_all_leaves_no_count(walker_rig: WalkerRig) -> None:
    walker_rig.source.kill_at(DEADLY, 2)
    walker_rig.begin(DEADLY, NEIGHBOUR, ELSEWHERE)
    lives = killed(walker_rig)
    while noted(walker_rig).get("starts") != str(MOST_STARTS - 1):
        next(lives)
    (walker_rig.source.folder / f"deadly.{DEADLY.site}").unlink()
    assert list(lives) == []
    assert [state.status for state in states(walker_rig)] == ["unverified"] * 3
    assert "starts" not in noted(walker_rig)
    account = Account(walker_rig)
    account.assert_walked_once(DEADLY, PAGES_OF_SOURCE, ROWS)
    account.assert_replayed()


def test_requests_that_keep_coming_do_not_keep_the_count_from_rising(
    walker_rig: WalkerRig,
) -> None:
    """A command that is put back begins its count anew: one that has a count is not."""
    walker_rig.source.kill_at(DEADLY, 0)
    walker_rig.begin(DEADLY)
    put_back = []
    for life in range(MOST_STARTS + 2):
        with walker_rig.source.hanging(DEADLY):
            walker = walker_rig.start(PAGES_OF_SOURCE)
            walker_rig.source.wait_until_asked(DEADLY, life + 1)
            municipality = Municipality(site=DEADLY.site)
            sent = walker_rig.send(AddSite, DEADLY, municipality=municipality)
            put_back.append(is_answered(walker_rig, sent))
        if life <= MOST_STARTS:
            ended_by(walker, -signal.SIGKILL)
    assert walker_rig.wait_for(DEADLY, is_over).status == "failed"
    assert put_back == [True, True, *[False] * MOST_STARTS]


def is_answered(rig: WalkerRig, command_id: str) -> bool:
    try:
        return rig.answer(DEADLY, command_id, 2.0).answer == "done"
    except AssertionError:
        return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_walk_that_is_healthy_survives_any_number_of_restarts(
    walker_rig: WalkerRig, how: signal.Signals
) -> None:
    walker_rig.begin(DEADLY)
    with walker_rig.source.hanging(DEADLY):
        for time in range(MOST_STARTS + 2):
            walker = walker_rig.start(PAGES_OF_SOURCE)
            walker_rig.source.wait_until_asked(DEADLY, time + 1)
            walker.send_signal(how)
            ended_by(walker, 0 if how == signal.SIGTERM else -how)
    walker_rig.start(PAGES_OF_SOURCE)
    assert walker_rig.wait_for(DEADLY, is_over).status == "unverified"
    Account(walker_rig).assert_replayed()


# One alone


def test_without_a_secret_a_second_walker_is_refused_and_the_first_goes_on(
    walker_rig: WalkerRig,
) -> None:
    walker_rig.limit = None
    first = walker_rig.start(PAGES_OF_SOURCE)
    walker_rig.begin(ELSEWHERE)
    walker_rig.wait_for(ELSEWHERE, is_over)
    said = ended_by(walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_WALKER_SLOT="walker-2"), 78)
    assert "there are other walkers" in said
    assert "PAGESTREAM_SOURCE_SECRET" in said
    walker_rig.begin(NEIGHBOUR)
    assert walker_rig.wait_for(NEIGHBOUR, is_over).status == "unverified"
    assert first.poll() is None


def test_without_a_secret_its_own_next_life_and_a_dead_ones_successor_may_walk(
    walker_rig: WalkerRig,
) -> None:
    walker_rig.limit = None
    for slot, table in (("walker-1", ELSEWHERE), ("walker-1", NEIGHBOUR), ("walker-2", DEADLY)):
        walker = walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_WALKER_SLOT=slot)
        walker_rig.begin(table)
        assert walker_rig.wait_for(table, is_over).status == "unverified"
        walker.kill()
        ended_by(walker, -signal.SIGKILL)


def test_with_a_secret_or_a_limit_of_their_own_or_on_loopback_many_may_walk(
    walker_rig: WalkerRig,
) -> None:
    walker_rig.limit = None
    walker_rig.begin(ELSEWHERE)
    for number, free in enumerate(
        (
            {"PAGESTREAM_SOURCE_SECRET": "s"},
            {"PAGESTREAM_REQUESTS_PER_MINUTE": "5"},
            {"PAGESTREAM_SOURCE_URL": "http://{subdomain}.localhost:1"},
        )
    ):
        walker_rig.start(PAGES_OF_SOURCE, PAGESTREAM_WALKER_SLOT=f"walker-{number}", **free)
        walker_rig.wait_for(ELSEWHERE, is_over)


def test_two_that_start_at_once_see_each_other_in_their_first_assignment() -> None:
    check_share(PARTITIONS)
    with pytest.raises(ConfigurationError, match="with 24 of 48 partitions"):
        check_share(24)
