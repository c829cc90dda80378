"""What a walk does next: pure, without clock or network. The guard is `command == due(state)`."""

from producer.decide.dueness import due, fetchable
from producer.decide.machine import decide
from producer.decide.outcome import FetchedCommand, Outcome
from producer.decide.timing import Timer, timers

__all__ = ["FetchedCommand", "Outcome", "Timer", "decide", "due", "fetchable", "timers"]
