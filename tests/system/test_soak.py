"""Randomised runs would find out a sink that loses rows: a control arm, with one rule broken."""

import sys
from pathlib import Path

import pytest
import soak
from soak.plan import Fault, Plan
from soak.run import run

from schemas.tables import Table

CARELESS = Path(soak.__file__).with_name("careless_sink.py")


@pytest.mark.patient
@pytest.mark.timeout(400)
def test_a_sink_that_commits_its_position_before_its_rows_is_found_out(tmp_path: Path) -> None:
    plan = Plan(
        seed=0,
        seconds=8,
        sites=("site-0.ca", "site-1.ca"),
        agendas=200,
        minutes=600,
        rows=20,
        batch=50,
        faults=(
            Fault(1.0, "crash_at", "sink-1", detail="sink.moved:3"),
            Fault(1.0, "crash_at", "sink-2", detail="sink.moved:3"),
        ),
        walks=((4.0, Table("site-0.ca", "minutes")),),
    )
    said: list[str] = []
    result = run(plan, tmp_path, said.append, [sys.executable, "-P", CARELESS], drain_seconds=40)
    assert len(said) == 2
    assert result.ends[-9] >= 2
    assert not result.good
    # What was lost is pages, and then it counts too few, or a walk's state, which never comes.
    said_so = [one for one in result.findings if "counted" in one or "in peace" in one]
    assert said_so, result.findings
