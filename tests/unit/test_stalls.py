"""The stall alarm: red only where commands lie unread and nothing moves."""

from producer.stalls import STALL_SECONDS, StallAlarm
from runtime.errors import Unavailable
from runtime.health import Readiness


class Log:
    """Where two partitions were read to, and where they end."""

    def __init__(self) -> None:
        self.reached = {3: 10, 7: 20}
        self.ends = {3: 10, 7: 20}
        self.readiness = Readiness()
        self.readiness.started()
        self.alarm = StallAlarm(lambda: self.reached, lambda _numbers: self.ends, self.readiness)


def test_caught_up_is_quiet() -> None:
    log = Log()
    assert [log.alarm.check(now) for now in (0.0, 100.0)] == [[], []]
    assert log.readiness.reasons() == []


def test_unread_commands_turn_it_red_after_a_while_and_reading_clears_it() -> None:
    log = Log()
    log.ends = {3: 12, 7: 20}
    assert log.alarm.check(0.0) == []
    assert log.alarm.check(STALL_SECONDS - 1) == []
    assert log.alarm.check(STALL_SECONDS) == [3]
    assert "partitions [3]" in log.readiness.reasons()[0]
    log.reached = {3: 12, 7: 20}
    assert log.alarm.check(STALL_SECONDS + 1) == []
    assert log.readiness.reasons() == []


def test_slow_is_not_stalled() -> None:
    log = Log()
    log.ends = {3: 99, 7: 20}
    for turn in range(10):
        log.reached = {3: 10 + turn, 7: 20}
        assert log.alarm.check(turn * STALL_SECONDS / 2) == []


def test_a_partition_with_pending_commands_is_being_worked_on() -> None:
    log = Log()
    log.ends = {3: 99, 7: 20}
    log.alarm.check(0.0)
    log.reached = {7: 20}
    assert log.alarm.check(STALL_SECONDS) == []


def test_a_broker_that_does_not_answer_is_another_reason() -> None:
    log = Log()

    def ends(_numbers: list[int]) -> dict[int, int]:
        raise Unavailable("Kafka does not answer")

    alarm = StallAlarm(lambda: log.reached, ends, log.readiness)
    assert alarm.check(0.0) == []
    assert log.readiness.reasons() == ["Kafka does not answer"]
