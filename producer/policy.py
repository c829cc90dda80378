"""How the walker walks where a request does not say: the settings that its decisions depend on."""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from runtime.settings import Settings
from schemas.walks import Schedule

_USUAL_PATIENCE: Final = 900.0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What `decide` must know besides state, command and response; all spans in seconds.

    `rows` are asked for in one response of a walk by schedule. `retry_waits` are the waits before
    each further try at a step. `window_days` reach both ways from the day on which an incremental
    walk begins. `verdict_timeout` is how long a walk waits for its verdict, 0: nobody gives one.
    `second_look_after` is the time between the two listings that a deletion needs. `schedule` is
    that of every table without one of its own.
    """

    rows: int = 1000
    retry_waits: tuple[float, ...] = (1.0, 2.0, 4.0)
    window_days: int = 180
    verdict_timeout: float = 0.0
    second_look_after: float = 3600.0
    schedule: Schedule = Schedule()

    @property
    def patience(self) -> float:
        """How long a walk that waits for a verdict waits, also one from when somebody judged."""
        return self.verdict_timeout or _USUAL_PATIENCE

    def verdict_by(self, now: datetime) -> datetime:
        """Return when a walk that begins to wait for its verdict now has waited long enough."""
        return now + timedelta(seconds=self.patience)


def policy_of(settings: Settings) -> Policy:
    """Return the policy of a process with these settings."""
    return Policy(
        rows=settings.rows_per_response,
        retry_waits=settings.retry_waits,
        window_days=settings.window_days,
        verdict_timeout=settings.verdict_timeout,
        second_look_after=settings.second_look_after,
        schedule=Schedule(
            full_every=settings.full_every,
            incremental_every=settings.incremental_every,
            verify_every=settings.verify_every,
        ),
    )
