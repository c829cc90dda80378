"""What a randomised run does is drawn from its seed alone, and a soak goes on where it was."""

import itertools
from pathlib import Path
from typing import get_args

import pytest
from soak.__main__ import main
from soak.journal import Journal
from soak.orders import Command
from soak.plan import SESSION_SECONDS, WORKERS, draw
from soak.run import Result
from soak.troubles import What

from runtime.crashpoints import CRASH_POINTS
from schemas.tables import partition_of

SECONDS = 12.0


def test_a_seed_always_draws_the_same_plan() -> None:
    assert draw(7, SECONDS) == draw(7, SECONDS)
    assert len({draw(seed, SECONDS).faults for seed in range(50)}) == 50


@pytest.mark.parametrize("seed", range(20))
def test_every_plan_has_the_worst_in_it(seed: int) -> None:
    faults = draw(seed, SECONDS).faults
    points = {fault.detail.partition(":")[0] for fault in faults if fault.action == "crash_at"}
    assert {point.partition(".")[0] for point in points} == {"walker", "sink"}
    assert any(f.action == "freeze" and f.seconds > SESSION_SECONDS for f in faults)
    assert any(f.action == "kill_server" for f in faults)
    assert all(0 < f.at <= SECONDS for f in faults)
    assert list(faults) == sorted(faults)


def test_in_the_long_run_everything_befalls_everyone() -> None:
    faults = list(itertools.chain.from_iterable(draw(seed, SECONDS).faults for seed in range(300)))
    assert {fault.target for fault in faults} == {*WORKERS, "kafka", "postgres"}
    passages = {f.detail.partition(":")[0] for f in faults if f.action.endswith("_at")}
    assert passages == set(CRASH_POINTS)
    per_server = {(f.action, f.target) for f in faults if f.target in ("kafka", "postgres")}
    assert len(per_server) == 10


def test_in_the_long_run_everything_is_asked_for_and_goes_wrong() -> None:
    plans = [draw(seed, SECONDS) for seed in range(100)]
    orders = list(itertools.chain.from_iterable(plan.orders for plan in plans))
    assert {order.command for order in orders} == set(get_args(Command))
    assert {len(order.again) for order in orders} == {0, 1}
    assert {order.walk for order in orders} == {-1, 0, 1}
    troubles = itertools.chain.from_iterable(plan.troubles for plan in plans)
    assert {trouble.what for trouble in troubles} == set(get_args(What))
    assert {plan.verdict_timeout > 0 for plan in plans} == {True, False}


def test_sites_are_spread_over_partitions() -> None:
    partitions = {partition_of(site) for site in draw(1, SECONDS).sites}
    assert len(partitions) > 1


def test_a_journal_remembers_the_newest_run_of_each_seed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "soak" / "journal.jsonl", SECONDS)
    assert journal.good() == journal.bad() == set()
    journal.note(Result(draw(1, SECONDS)))
    journal.note(Result(draw(2, SECONDS), findings=["a row is missing"]))
    journal.note(Result(draw(3, SECONDS), findings=["a row is missing"]))
    journal.note(Result(draw(3, SECONDS)))
    journal.note(Result(draw(4, 60.0)))
    with journal.path.open("a") as file:
        file.write('{"seed": 5, "go')
    assert (journal.good(), journal.bad()) == ({1, 3}, {2})


def test_what_is_done_is_not_done_again_and_what_failed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(tmp_path / "journal.jsonl", SECONDS)
    for seed in (1, 2):
        journal.note(Result(draw(seed, SECONDS)))
    arguments = ["--runs", "3", "--seconds", str(SECONDS), "--folder", str(tmp_path)]
    journal.note(Result(draw(3, SECONDS), findings=["a row is missing"]))
    assert main(arguments) == 1
    assert capsys.readouterr().out == (
        'seed 3 failed: run it again: make soak ARGS="--seed 3 --seconds 12"\n'
    )
    journal.note(Result(draw(3, SECONDS)))
    assert main(arguments) == 0
