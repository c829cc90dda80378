"""What one run does, all of it drawn from a seed: the source's content, and whatever befalls it."""

import random
from dataclasses import dataclass
from typing import Final, Literal

from runtime.crashpoints import CRASH_POINTS
from schemas.tables import Kind, Table
from soak.orders import Order, draw_orders
from soak.troubles import Trouble, draw_troubles

Action = Literal[
    "kill",
    "crash_at",
    "freeze",
    "freeze_at",
    "terminate",
    "kill_server",
    "cut",
    "refuse",
    "delay",
    "hold",
]
Server = Literal["kafka", "postgres"]

WORKERS: Final = ("walker-1", "walker-2", "sink-1", "sink-2")
SERVERS: Final[tuple[Server, ...]] = ("kafka", "postgres")
KINDS: Final[tuple[Kind, ...]] = ("agenda", "minutes")
SESSION_SECONDS: Final = 6.0
"""After so long without a word a group goes on without its member."""

_WORKER_ACTIONS: Final[dict[Action, int]] = {
    "kill": 4,
    "crash_at": 5,
    "freeze": 4,
    "freeze_at": 3,
    "terminate": 2,
}
_SERVER_ACTIONS: Final[dict[Action, int]] = {
    "kill_server": 2,
    "cut": 3,
    "refuse": 2,
    "delay": 2,
    "hold": 3,
}
_EVERY_FAULT_SECONDS: Final = 1.8
_MOST_PASSAGES: Final = 12
_WORKERS_SHARE: Final = 0.65
_VERDICT_TIMEOUTS: Final = (0.0, 0.0, 3.0, 6.0)


@dataclass(frozen=True, order=True)
class Fault:
    """At `at` seconds, `action` befalls a worker or a server, and is undone after `seconds`.

    `detail` is the crash point and which passage of it, or the direction of what is held back.
    """

    at: float
    action: Action
    target: str
    seconds: float = 0.0
    detail: str = ""

    def __str__(self) -> str:
        lasts = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:5.1f} s  {self.action} {self.target} {self.detail}".rstrip() + lasts


@dataclass(frozen=True)
class Plan:
    """One run. `rows` is how many a response has, `batch` how many records a sink's transaction.

    `faults` befall processes and servers, `troubles` the source; `orders` are what people ask for.
    `verdict_timeout` is how long a walk waits for its verdict, in seconds; 0: it does not.
    """

    seed: int
    seconds: float
    sites: tuple[str, ...]
    agendas: int
    minutes: int
    rows: int
    batch: int
    faults: tuple[Fault, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    orders: tuple[Order, ...] = ()
    verdict_timeout: float = 0.0

    @property
    def tables(self) -> list[Table]:
        """Every table that is walked."""
        return [Table(site, kind) for site in self.sites for kind in KINDS]


def draw(seed: int, seconds: float) -> Plan:
    """Return the plan of a seed: the same for the same seed and length, in seconds."""
    chance = random.Random(f"{seed}/{seconds}")
    sites = tuple(f"site-{number}.ca" for number in range(chance.randint(2, 4)))
    tables = [Table(site, kind) for site in sites for kind in KINDS]
    return Plan(
        seed=seed,
        seconds=seconds,
        sites=sites,
        agendas=chance.randint(1, 300),
        minutes=chance.randint(200, 700),
        rows=chance.choice((20, 50, 100)),
        batch=chance.choice((50, 200, 1000)),
        verdict_timeout=chance.choice(_VERDICT_TIMEOUTS),
        faults=_faults(chance, seconds),
        troubles=draw_troubles(chance, seconds, sites),
        orders=draw_orders(chance, seconds, tables),
    )


def _faults(chance: random.Random, seconds: float) -> tuple[Fault, ...]:
    """Draw faults; whatever else chance brings, one of each of the worst is among them."""
    walker, sink = chance.choice(WORKERS[:2]), chance.choice(WORKERS[2:])
    beyond_session = SESSION_SECONDS + chance.uniform(1, 3)
    worst = [
        Fault(0, "crash_at", walker, detail=_passage(chance, walker)),
        Fault(0, "crash_at", sink, detail=_passage(chance, sink)),
        Fault(0, "freeze", chance.choice((walker, sink)), beyond_session),
        _server_fault(chance, "kill_server"),
    ]
    further = max(0, int(seconds / _EVERY_FAULT_SECONDS) - len(worst))
    chosen = [*worst, *(_any_fault(chance) for _ in range(further))]
    # Two kills of one broker in a row: it would never be there for long enough to be of use.
    kafka_killed = [each for each in chosen if (each.action, each.target) == _KAFKA_KILLED]
    for each in kafka_killed[1 + int(seconds / 30) :]:
        chosen.remove(each)
    return tuple(sorted(_at(each, chance.uniform(1, seconds)) for each in chosen))


_KAFKA_KILLED: Final = ("kill_server", "kafka")


def _at(fault: Fault, moment: float) -> Fault:
    return Fault(round(moment, 2), fault.action, fault.target, fault.seconds, fault.detail)


def _any_fault(chance: random.Random) -> Fault:
    if chance.random() < _WORKERS_SHARE:
        return _worker_fault(chance)
    (action,) = chance.choices(list(_SERVER_ACTIONS), list(_SERVER_ACTIONS.values()))
    return _server_fault(chance, action)


def _worker_fault(chance: random.Random) -> Fault:
    (action,) = chance.choices(list(_WORKER_ACTIONS), list(_WORKER_ACTIONS.values()))
    worker = chance.choice(WORKERS)
    lasts = chance.uniform(0.3, SESSION_SECONDS + 4) if action.startswith("freeze") else 0.0
    detail = _passage(chance, worker) if action.endswith("_at") else ""
    return Fault(0, action, worker, round(lasts, 2), detail)


def _passage(chance: random.Random, worker: str) -> str:
    role = worker.partition("-")[0]
    point = chance.choice([point for point in CRASH_POINTS if point.startswith(f"{role}.")])
    return f"{point}:{chance.randint(1, _MOST_PASSAGES)}"


def _server_fault(chance: random.Random, action: Action) -> Fault:
    server = chance.choice(SERVERS)
    lasts = {
        "kill_server": chance.uniform(0, 2),
        "cut": 0.0,
        "refuse": chance.uniform(0.2, 3),
        "delay": chance.uniform(0.5, 4),
        "hold": chance.uniform(0.5, SESSION_SECONDS + 2),
    }[action]
    directions = ("to_server", "to_client", "to_server to_client")
    detail = chance.choice(directions) if action == "hold" else ""
    return Fault(0, action, server, round(lasts, 2), detail)
