"""Crash points: a process dies, or stops, exactly where it is told to, and nowhere else."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from fix_process import wait_until_frozen

import runtime
from runtime.crashpoints import CRASH_POINTS

ROOT: Final = Path(runtime.__file__).parents[1]
PASSES: Final = """
import sys
from runtime.crashpoints import crash_point
for name in ("walker.begun", "sink.written", "walker.begun", "walker.begun"):
    crash_point(name)
    print(name, flush=True)
"""


def pass_points(crash_at: str | None) -> tuple[int, list[str]]:
    environment = {k: v for k, v in os.environ.items() if k != "PAGESTREAM_CRASH_AT"}
    if crash_at is not None:
        environment["PAGESTREAM_CRASH_AT"] = crash_at
    done = subprocess.run(
        [sys.executable, "-c", PASSES],
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize(
    ("crash_at", "passed"),
    [
        ("walker.begun", []),
        ("walker.begun:1", []),
        ("walker.begun:2", ["walker.begun", "sink.written"]),
        ("walker.begun:3", ["walker.begun", "sink.written", "walker.begun"]),
        ("sink.written", ["walker.begun"]),
    ],
)
def test_a_process_dies_at_the_point_it_is_told(crash_at: str, passed: list[str]) -> None:
    assert pass_points(crash_at) == (-signal.SIGKILL, passed)


@pytest.mark.parametrize("crash_at", [None, "", "walker.begun:4", "sink.committed"])
def test_it_lives_when_told_nothing_or_of_another_point(crash_at: str | None) -> None:
    returncode, passed = pass_points(crash_at)
    assert returncode == 0
    assert len(passed) == 4


def test_a_process_stops_at_the_point_it_is_told_and_goes_on_when_woken() -> None:
    started = subprocess.Popen(
        [sys.executable, "-c", PASSES],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PAGESTREAM_FREEZE_AT": "walker.begun:2"},
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until_frozen(started)
    started.send_signal(signal.SIGCONT)
    written, _ = started.communicate(timeout=20)
    assert started.returncode == 0
    assert written.split() == ["walker.begun", "sink.written", "walker.begun", "walker.begun"]


@pytest.mark.parametrize("crash_at", ["walker", "walker.bgun:2", "walker.begun:x"])
def test_a_point_that_is_none_is_refused_instead_of_never_reached(crash_at: str) -> None:
    assert pass_points(crash_at) == (1, [])


def test_every_declared_point_is_in_the_code_and_no_other_is() -> None:
    code = "".join(
        path.read_text()
        for package in ("runtime", "producer", "consumers")
        for path in (ROOT / package).rglob("*.py")
    )
    assert set(re.findall(r"crash_point\(\"([^\"]+)\"\)", code)) == set(CRASH_POINTS)
