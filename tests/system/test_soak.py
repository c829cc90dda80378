"""Randomised runs would find a broken rule: control arms, each without one of them."""

import sys
from pathlib import Path

import soak
from soak.orders import Order
from soak.plan import KINDS, Fault, Plan
from soak.road import HASTY_WALKER, Command
from soak.run import run

from schemas.tables import Table

CARELESS = Path(soak.__file__).with_name("careless_sink.py")
SITES = ("site-0.ca", "site-1.ca")
TABLES = [Table(site, kind) for site in SITES for kind in KINDS]
AGAIN = [Order(1.0, "StartWalk", table, detail="full") for table in TABLES]


def plan(*orders: Order, faults: tuple[Fault, ...] = ()) -> Plan:
    return Plan(
        seed=0,
        seconds=2,
        sites=SITES,
        agendas=100,
        minutes=400,
        rows=20,
        batch=50,
        faults=faults,
        orders=orders,
    )


def test_a_sink_that_commits_its_position_before_its_rows_is_found_out(tmp_path: Path) -> None:
    faults = (
        Fault(0, "crash_at", "sink-1", detail="sink.moved"),
        Fault(0, "crash_at", "sink-2", detail="sink.moved"),
    )
    said: list[str] = []
    careless: dict[str, Command] = {"sink": [sys.executable, "-P", CARELESS]}
    result = run(plan(*AGAIN, faults=faults), tmp_path, said.append, careless)
    assert len(said) == 2
    # Both were killed to be started with their order, and one at least came to its crash point.
    assert result.ends[-9] >= 3
    assert not result.good
    assert any("counted" in finding for finding in result.findings), result.findings


def test_a_walker_that_takes_any_step_is_found_out(tmp_path: Path) -> None:
    """The guard `command == due(state)`: without it, a step of old begins a second walk."""
    of_old = Order(1.0, "TakeStep", Table("site-0.ca", "minutes"), numbers=(0.0,))
    said: list[str] = []
    unguarded = {"walker": [*HASTY_WALKER, "no-guard"]}
    result = run(plan(of_old), tmp_path, said.append, unguarded)
    assert result.sent["TakeStep"] == 1
    assert not result.good
    assert any("rows published twice" in finding for finding in result.findings), result.findings
    assert any("forked" in finding for finding in result.findings), result.findings


def test_a_walker_that_produces_and_then_commits_is_found_out(tmp_path: Path) -> None:
    """One transaction for output and position: without it, a crash between them doubles rows."""
    faults = (
        Fault(0, "crash_at", "walker-1", detail="walker.produced:12"),
        Fault(0, "crash_at", "walker-2", detail="walker.produced:12"),
    )
    said: list[str] = []
    without = {"walker": [*HASTY_WALKER, "produce-then-commit"]}
    result = run(plan(*AGAIN, faults=faults), tmp_path, said.append, without)
    assert result.ends[-9] >= 3
    assert not result.good
    assert any("rows published twice" in finding for finding in result.findings), result.findings
