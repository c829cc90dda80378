"""How a role runs and ends: told to stop, stuck, or alone in its slot."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

import runtime
from runtime.errors import ConfigurationError, OwnedElsewhere
from runtime.lifecycle import WATCHDOG_EXIT_CODE, StopSignal, Watchdog, slot_lock

ROOT: Final = Path(runtime.__file__).parents[1]
SECONDS: Final = 20.0

STOPS_ORDERLY: Final = """
from runtime.lifecycle import StopSignal
stop = StopSignal()
stop.install()
print("ready", flush=True)
while not stop.wait(60):
    pass
print("stopped", flush=True)
"""
NEVER_FINISHES: Final = """
import threading
from runtime.lifecycle import StopSignal
stop = StopSignal()
stop.install()
print("ready", flush=True)
stop.wait(60)
print("stopping", flush=True)
threading.Event().wait(60)
print("finished", flush=True)
"""
STANDS_STILL: Final = """
import threading
from runtime.lifecycle import Watchdog
with Watchdog(0.2, check_every=0.05).watching():
    print("ready", flush=True)
    threading.Event().wait(60)
"""
HOLDS_A_SLOT: Final = """
import sys
from pathlib import Path
from runtime.lifecycle import slot_lock
with slot_lock(Path(sys.argv[1]), "walker-1"):
    print("ready", flush=True)
    sys.stdin.read()
"""

Process = subprocess.Popen[str]


@contextmanager
def running(program: str, *arguments: str) -> Iterator[Process]:
    """Run a program until the block ends; it has said `ready` when the block begins."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert said(process) == "ready"
            yield process
        finally:
            process.kill()


def said(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# StopSignal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_stops_in_good_order(number: signal.Signals) -> None:
    with running(STOPS_ORDERLY) as process:
        process.send_signal(number)
        assert said(process) == "stopped"
        assert process.wait(SECONDS) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    with running(NEVER_FINISHES) as process:
        process.send_signal(signal.SIGTERM)
        assert said(process) == "stopping"
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number
        assert said(process) == ""


def test_a_stop_from_inside_ends_every_wait() -> None:
    stop = StopSignal()
    assert not stop.is_set()
    assert not stop.wait(0.001)

    waiting = threading.Thread(target=stop.wait, args=(SECONDS,))
    waiting.start()
    stop.set()
    waiting.join(SECONDS / 2)
    assert not waiting.is_alive()
    assert stop.is_set()


# Watchdog


class End:
    """What the watchdog calls instead of ending the test's own process."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.called = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.called.set()


def test_a_loop_that_stands_still_ends_the_process() -> None:
    end = End()
    with Watchdog(0.05, end, check_every=0.01).watching():
        assert end.called.wait(SECONDS)
    assert end.codes[0] == WATCHDOG_EXIT_CODE == 70


def test_a_loop_that_turns_is_left_alone_until_it_stops() -> None:
    end = End()
    watchdog = Watchdog(1.0, end, check_every=0.01)
    with watchdog.watching():
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            watchdog.beat()
            end.called.wait(0.01)
        assert end.codes == []
        assert end.called.wait(SECONDS)


def test_nothing_is_watched_after_the_block() -> None:
    end = End()
    before = set(threading.enumerate())
    with Watchdog(0.05, end, check_every=0.01).watching():
        (thread,) = set(threading.enumerate()) - before
        end.called.wait(SECONDS)
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_a_stuck_process_exits_for_its_supervisor_to_start_again() -> None:
    with running(STANDS_STILL) as process:
        assert process.wait(SECONDS) == 70
        assert process.stderr is not None
        assert "loop_stuck" in process.stderr.read() + process.communicate()[0]


# slot_lock


def test_a_slot_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    with running(HOLDS_A_SLOT, str(tmp_path)) as holder:
        with (
            pytest.raises(OwnedElsewhere, match="slot walker-1 is taken"),
            slot_lock(tmp_path, "walker-1"),
        ):
            pass
        with slot_lock(tmp_path, "walker-2"):
            pass
        holder.communicate()
        assert holder.returncode == 0
    with slot_lock(tmp_path, "walker-1"):
        pass


def test_the_slot_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    with running(HOLDS_A_SLOT, str(tmp_path)) as holder:
        holder.kill()
        holder.wait(SECONDS)
        with slot_lock(tmp_path, "walker-1"):
            pass


def test_a_directory_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigurationError, match="PAGESTREAM_STATE_DIRECTORY"),
        slot_lock(tmp_path / "file" / "slots", "walker-1"),
    ):
        pass
