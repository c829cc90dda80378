"""The walker without its broker: it waits, goes on where it was, and soon."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accounting import Account
from fix_walker import ROWS, WalkerRig, is_over

from pagestream.embedded.kafka import EmbeddedKafka
from runtime.settings import Settings
from schemas.tables import Table
from schemas.walks import WalkState

ALAMEDA = Table("alameda.ca", "minutes")
PAGES_OF_SOURCE = 3000
STEP_SECONDS = 30
"""So soon after the broker is back there must be a new step."""


def test_a_broker_killed_during_a_walk_costs_no_row_and_doubles_none(
    private_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    with own_rig(private_kafka, tmp_path) as rig:
        rig.begin(ALAMEDA)
        with supervised(rig):
            rig.wait_for(ALAMEDA, lambda state: state.steps > 3)
            private_kafka.kill()
            private_kafka.start()
            there = newest(rig).steps
            rig.wait_for(ALAMEDA, lambda state: state.steps > there, STEP_SECONDS)
            assert rig.wait_for(ALAMEDA, is_over).status == "unverified"
        account = Account(rig)
        account.assert_walked_once(ALAMEDA, PAGES_OF_SOURCE, ROWS)
        account.assert_replayed()


def newest(rig: WalkerRig) -> WalkState:
    state = rig.state(ALAMEDA)
    assert state is not None
    assert not is_over(state), "the walk was over before the broker was killed"
    return state


@contextmanager
def supervised(rig: WalkerRig) -> Iterator[None]:
    """Keep a walker running beside the block, as its supervisor would."""
    done = threading.Event()
    ends: list[int] = []

    def supervise() -> None:
        while not done.is_set():
            walker = rig.start(PAGES_OF_SOURCE)
            while walker.poll() is None and not done.wait(0.1):
                continue
            if walker.returncode is not None:
                ends.append(walker.returncode)

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    # For the broker's sake it may end, and says so; anything else is a fault.
    assert set(ends) <= {69, 70, 75}


def test_told_to_stop_while_the_broker_is_away_it_still_ends(
    private_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    with own_rig(private_kafka, tmp_path) as rig:
        rig.begin(ALAMEDA)
        walker = rig.start(PAGES_OF_SOURCE)
        rig.wait_for(ALAMEDA, lambda state: state.steps > 3)
        private_kafka.kill()
        told = time.monotonic()
        walker.send_signal(signal.SIGTERM)
        walker.communicate(timeout=40)
        assert time.monotonic() - told < 20


@contextmanager
def own_rig(kafka: EmbeddedKafka, state: Path) -> Iterator[WalkerRig]:
    settings = Settings(kafka=kafka.start(), state_directory=state, _env_file=None)
    rig = WalkerRig(settings)
    try:
        yield rig
    finally:
        rig.close()
