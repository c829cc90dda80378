"""What people and the reconciler ask for during a run, much of it twice, late, or of a wrong walk.

Which walk is meant is drawn as its distance from the newest: its number is known when it is sent.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from schemas.tables import Table

Command = Literal[
    "AddSite",
    "ApproveVerdict",
    "CancelWalk",
    "ForceFull",
    "PauseWalk",
    "PrunePages",
    "RecordVerdict",
    "RefetchPages",
    "RejectVerdict",
    "RemoveSite",
    "ResumeWalk",
    "RetryWalk",
    "SetSchedule",
    "StartWalk",
    "StillWaiting",
    "TakeStep",
]

_SCENES: Final[dict[tuple[Command, ...], int]] = {
    ("StartWalk",): 4,
    ("StartWalk", "StartWalk"): 1,
    ("StartWalk", "PauseWalk", "ResumeWalk"): 3,
    ("StartWalk", "PauseWalk"): 1,
    ("StartWalk", "PauseWalk", "CancelWalk"): 1,
    ("StartWalk", "CancelWalk", "StartWalk"): 2,
    ("StartWalk", "RetryWalk", "TakeStep"): 1,
    ("PauseWalk", "StartWalk", "ResumeWalk"): 1,
    ("RetryWalk",): 2,
    ("ForceFull", "StartWalk"): 1,
    ("SetSchedule",): 4,
    ("RemoveSite", "AddSite", "StartWalk"): 1,
    ("StartWalk", "RemoveSite"): 1,
    ("StartWalk", "RemoveSite", "AddSite", "StartWalk"): 1,
    ("AddSite",): 2,
    ("RefetchPages",): 5,
    ("PrunePages", "RefetchPages"): 5,
    ("RefetchPages", "PrunePages", "StartWalk"): 2,
    ("RecordVerdict",): 3,
    ("StillWaiting", "RecordVerdict"): 2,
    ("RecordVerdict", "ApproveVerdict"): 1,
    ("RecordVerdict", "RefetchPages", "PrunePages"): 2,
    ("RecordVerdict", "RejectVerdict"): 1,
    ("TakeStep",): 2,
}
"""What is asked for of one table within a second or two, and how often, one to another."""

_MODES: Final = ("auto", "full", "incremental", "verify")
_VERDICTS: Final = (
    *("balanced", "balanced", "balanced", "repaired", "incomplete"),
    *("second_look", "shrunk", "torn", "unverifiable"),
)
_EVERY_SCENE_SECONDS: Final = 0.5
_LONGEST_GAP_SECONDS: Final = 1.2
_TWICE: Final = 0.4
_SOON: Final = 0.5
_OTHER_WALKS: Final = {0: 15, -1: 3, 1: 2}
_MOST_IDS: Final = 40


@dataclass(frozen=True, order=True)
class Order:
    """At `at` seconds, `command` is sent for a table, and the very same again at each of `again`.

    `walk` is which walk it means: the newest is 0, the one before -1. `detail` is a walk's mode or
    a verdict's outcome. `numbers` are the seconds of a schedule (0: never), or which of the
    source's ids a repair names, each as its place (those beyond the last are absent), or for a
    TakeStep how far back in the log the one is that is sent again: 0.0 is the first.
    """

    at: float
    command: Command
    table: Table
    walk: int = 0
    detail: str = ""
    numbers: tuple[float, ...] = ()
    again: tuple[float, ...] = ()


def draw_orders(
    chance: random.Random, seconds: float, tables: Sequence[Table]
) -> tuple[Order, ...]:
    """Draw what is asked for within so many seconds, and a little later."""
    orders: list[Order] = []
    for _ in range(int(seconds / _EVERY_SCENE_SECONDS)):
        (scene,) = chance.choices(list(_SCENES), list(_SCENES.values()))
        orders += _play(chance, seconds, scene, chance.choice(tables))
    return tuple(sorted(orders))


def _play(
    chance: random.Random, seconds: float, scene: Sequence[Command], table: Table
) -> Iterator[Order]:
    at = chance.uniform(0, seconds)
    for command in scene:
        (walk,) = chance.choices(list(_OTHER_WALKS), list(_OTHER_WALKS.values()))
        yield Order(
            at=round(at, 2),
            command=command,
            table=table,
            walk=walk,
            detail=chance.choice(_VERDICTS if command == "RecordVerdict" else _MODES),
            numbers=_numbers(chance, command),
            again=_again(chance, at, seconds),
        )
        at += chance.uniform(0.05, _LONGEST_GAP_SECONDS)


def _numbers(chance: random.Random, command: Command) -> tuple[float, ...]:
    match command:
        case "SetSchedule":
            return tuple(chance.choice((0.0, 2.0, 4.0, 8.0)) for _ in range(3))
        case "RefetchPages" | "PrunePages":
            return tuple(chance.random() * 1.3 for _ in range(chance.randint(1, _MOST_IDS)))
        case "TakeStep":
            return (chance.random(),)
    return ()


def _again(chance: random.Random, at: float, seconds: float) -> tuple[float, ...]:
    if chance.random() > _TWICE:
        return ()
    latest = at + 1 if chance.random() < _SOON else max(seconds, at + 1)
    return (round(chance.uniform(at, latest), 2),)
