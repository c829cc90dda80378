"""Named points at which a test can kill or freeze a process."""

import itertools
import os
import signal
from collections.abc import Iterator
from typing import Final, NamedTuple

from runtime.errors import ConfigurationError

CRASH_POINTS: Final = (
    "walker.begun",
    "walker.produced",
    "walker.offset_sent",
    "walker.committed",
    "sink.moved",
    "sink.written",
    "sink.committed",
    "sink.mirrored",
)
"""Every point: in the walker's transaction, in order, and in and around the sink's."""

_SIGNALS: Final = {
    "PAGESTREAM_CRASH_AT": signal.SIGKILL,
    "PAGESTREAM_FREEZE_AT": signal.SIGSTOP,
}


class _Order(NamedTuple):
    signal: signal.Signals
    point: str
    countdown: Iterator[int]


def _orders() -> tuple[_Order, ...]:
    given = ((variable, os.environ.get(variable, "")) for variable in _SIGNALS)
    return tuple(_order(variable, text) for variable, text in given if text)


def _order(variable: str, text: str) -> _Order:
    point, _, number = text.partition(":")
    if point not in CRASH_POINTS:
        raise ConfigurationError(
            f"{variable} names no crash point: {point!r}",
            remedy=f"choose one of {', '.join(CRASH_POINTS)}",
        )
    return _Order(_SIGNALS[variable], point, itertools.count(int(number or 1) - 1, -1))


_ORDERS: Final = _orders()


def crash_point(name: str) -> None:
    """Kill or freeze this process, if the environment says so of `name`.

    PAGESTREAM_CRASH_AT=`name`, or `name:n` for the nth time, kills it without a trace.
    PAGESTREAM_FREEZE_AT, in the same form, stops it until it is sent SIGCONT. A test's tool:
    without the variables this is one look at an empty tuple.
    """
    for order in _ORDERS:
        if order.point == name and next(order.countdown) == 0:
            os.kill(os.getpid(), order.signal)
