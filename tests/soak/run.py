"""One run: chaos, then healing, draining and the verdict."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soak.chaos import Chaos
from soak.draining import Drain
from soak.evidence import keep_log
from soak.plan import Plan
from soak.road import Command, Road
from soak.verdict import Verdict

Said = Callable[[str], None]


@dataclass
class Result:
    """What a run came to: what is wrong, and what happened on the way.

    `told` counts the ledger's events and the answers to commands, `sent` the commands, `remedies`
    those of a person who brought it to its end. `spoilt` says why the run proves nothing: a server
    that we did not write stands still.
    """

    plan: Plan
    findings: list[str] = field(default_factory=list)
    spoilt: str = ""
    ends: Counter[int] = field(default_factory=Counter)
    last_words: list[str] = field(default_factory=list)
    troubled: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    remedies: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        told, took = self.told, ", ".join(f"{k} {s:.0f} s" for k, s in self.seconds.items())
        ends = ", ".join(f"{count} x {code}" for code, count in sorted(self.ends.items()))
        return (
            f"{len(self.plan.faults)} faults, processes ended {ends or 'never'}; "
            f"{self.troubled} requests troubled; {self.sent.total()} commands, "
            f"{told['done']} done, {told['stale']} stale, {told['refused']} refused, of these "
            f"{self.remedies.total()} to bring it to its end; {told['WalkStarted']} walks, "
            f"{told['WalkEnded']} ended, {told['WalkFailed']} failures, {told['StepWalked']} steps "
            f"of pages, {told['RowsAmended']} repairs; {took}"
        )


def run(
    plan: Plan, folder: Path, said: Said, commands: Mapping[str, Command] | None = None
) -> Result:
    """Do what the plan says, and return what came of it; logs are kept in the folder."""
    result = Result(plan)
    clock = _Clock(result)
    with Road(plan, folder, commands) as road:
        road.add_sites()
        clock.lap("start")
        Chaos(road, said).run()
        clock.lap("chaos")
        road.heal()
        clock.lap("heal")
        drain = Drain(road)
        unfinished = drain.run()
        clock.lap("drain")
        _judge(road, unfinished, result)
        clock.lap("verdict")
        for worker in road.workers.values():
            result.ends += worker.ended
            result.last_words += worker.last_words
        result.remedies, result.sent = drain.remedies, road.person.sent
        result.troubled = sum(len(plot.troubled) for plot in road.plots.values())
        if not result.good or result.spoilt:
            keep_log(road)
    return result


def _judge(road: Road, unfinished: str, result: Result) -> None:
    if unfinished and road.broker_lost_markers():
        result.spoilt = f"the broker never ended a transaction; {unfinished}"
        return
    verdict = Verdict(road)
    result.findings = [*filter(None, [unfinished]), *verdict.findings]
    result.told = verdict.told


class _Clock:
    def __init__(self, result: Result) -> None:
        self._result = result
        self._last = time.monotonic()

    def lap(self, what: str) -> None:
        now = time.monotonic()
        self._result.seconds[what] = now - self._last
        self._last = now
