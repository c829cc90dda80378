"""Named points at which a test can kill a process."""

import itertools
import os
import signal
from typing import Final

from runtime.errors import ConfigurationError

CRASH_POINTS: Final = (
    "walker.begun",
    "walker.produced",
    "walker.offset_sent",
    "walker.committed",
    "sink.written",
    "sink.committed",
    "sink.mirrored",
)
"""Every point: in the walker's transaction, in order, and around the sink's commit."""

_point, _, _number = os.environ.get("PAGESTREAM_CRASH_AT", "").partition(":")
if _point and _point not in CRASH_POINTS:
    raise ConfigurationError(
        f"PAGESTREAM_CRASH_AT names no crash point: {_point!r}",
        remedy=f"choose one of {', '.join(CRASH_POINTS)}",
    )
_countdown: Final = itertools.count(int(_number or 1) - 1, -1)


def crash_point(name: str) -> None:
    """Kill this process without a trace, if PAGESTREAM_CRASH_AT is `name`, or `name:n` at the nth.

    A test's tool; without the variable this is one comparison.
    """
    if name == _point and next(_countdown) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
