"""A role that ends is started again, after a pause that grows."""

import os
from pathlib import Path

import pytest
from fix_terminal import wait_for

from pagestream.supervision import SupervisedRole, Supervisor, pause_before
from runtime.errors import Unavailable


def test_the_pauses_grow_to_half_a_minute() -> None:
    pauses = [pause_before(restart) for restart in range(1, 10)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == 30.0


def test_a_role_that_ends_is_reported_and_started_again(tmp_path: Path) -> None:
    reports: list[str] = []
    role = SupervisedRole("no-such-role", tmp_path, os.environ, reports.append)
    role.start()

    def ended_twice() -> bool:
        role.tend()
        return len(reports) == 2

    wait_for(ended_twice)
    assert all("the no-such-role ended with code 2" in report for report in reports)
    assert "No such command" in reports[0]
    assert "starts again in 1 s" in reports[1]
    assert role.log.read_text().count("No such command") == 2


def test_a_role_that_does_not_come_up_is_said_with_its_last_words(tmp_path: Path) -> None:
    with Supervisor(["no-such-role"], tmp_path, {}, print) as roles:
        wait_for(roles.roles[0].has_ended)
        with pytest.raises(Unavailable, match="No such command"):
            roles.wait_until_ready()
