"""Asking the walker for something: send commands, and wait for their answers in the ledger."""

import getpass
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pagestream.walks import expect
from runtime.errors import NotDone, Unavailable
from runtime.kafka.cluster import Cluster
from runtime.kafka.publisher import Publisher
from runtime.kafka.reading import LogReader
from runtime.kafka.records import Partition, Record, outgoing
from runtime.settings import Settings
from schemas.codec import type_header
from schemas.commands import Request
from schemas.events import CommandAnswered
from schemas.tables import Table
from schemas.topics import COMMANDS, LEDGER

ANSWER_SECONDS: Final = 10.0
"""How long to wait for the next answer before looking whether a walker is at work at all."""

BUSY_SECONDS: Final = 600.0
"""How long to wait for the next answer of a walker that is at work on other requests."""

_ANSWER: Final = type_header(CommandAnswered)


def new_id() -> str:
    """Return an id for a request, never given before."""
    return uuid.uuid4().hex


def sender() -> str:
    """Return who sends, as the ledger will name it: `cli:` and the user's name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in many containers
        return "cli"


def addressed(table: Table) -> dict[str, Any]:
    """Return the fields of a request of ours to this table that every request has."""
    return {
        "site": table.site,
        "kind": table.kind,
        "command_id": new_id(),
        "sent_by": sender(),
        "sent_at": datetime.now(UTC),
    }


def send(settings: Settings, requests: Sequence[Request]) -> None:
    """Log requests; they are safe there, and done whenever a walker runs."""
    Publisher(settings).publish(
        [
            outgoing(COMMANDS, request.table.key, request.table.partition, request)
            for request in requests
        ]
    )


def ask(
    settings: Settings,
    cluster: Cluster,
    requests: Sequence[Request],
    *,
    busy: Callable[[str], None] | None = None,
    silence: float = ANSWER_SECONDS,
) -> dict[str, CommandAnswered]:
    """Send requests and return their answers, by command id.

    1. Note where the ledger ends. 2. Send. 3. Read on from there until every request is answered.
    4. When no answer has come for `silence` seconds and no walker is a member of its group: those
    that were not answered are missing from the result, but they stay logged.
    5. Where a walker is one, it has other things to do first: `busy` is told so, and this waits on,
    for BUSY_SECONDS of silence at most. Without `busy` it does not wait.

    Raises Unavailable when a walker that runs has not answered by then.
    """
    ledger = {Partition(LEDGER.name, request.table.partition) for request in requests}
    starts = cluster.ends(ledger)
    left = {request.command_id for request in requests}
    answers: dict[str, CommandAnswered] = {}
    quiet = 0.0
    with LogReader(settings) as reader:
        reader.follow(starts)
        send(settings, requests)
        for answer in _answers(reader, left, silence):
            if answer is not None:
                answers[answer.command_id] = answer
                quiet = 0.0
            elif _walkers(settings, cluster):
                quiet += silence
                if busy is None or quiet >= BUSY_SECONDS:
                    raise _too_busy(len(left))
                if quiet == silence:
                    busy("a walker runs, and is busy with other requests: still waiting")
            else:
                break
    return answers


def _answers(reader: LogReader, left: set[str], silence: float) -> Iterator[CommandAnswered | None]:
    """Yield answers until none is left, and None after each `silence` seconds without one."""
    look_up = time.monotonic() + silence
    while left:
        item = reader.poll(0.2)
        if isinstance(item, Record) and item.type_header == _ANSWER:
            answer = expect(CommandAnswered, item)
            if answer.command_id in left:
                left.remove(answer.command_id)
                yield answer
                look_up = time.monotonic() + silence
        if time.monotonic() >= look_up:
            yield None
            look_up = time.monotonic() + silence


def _walkers(settings: Settings, cluster: Cluster) -> int:
    from producer.walker import group_name  # noqa: PLC0415 - only where nobody answers

    return cluster.members(group_name(settings))


def _too_busy(left: int) -> Unavailable:
    return Unavailable(
        f"a walker runs, and has not come to {_count(left)} yet; it is logged, and will be done",
        remedy="look with `pagestream walks`, and at the walker's log",
    )


def settled(
    requests: Sequence[Request], answers: Mapping[str, CommandAnswered]
) -> list[CommandAnswered]:
    """Return the answers in the order of the requests, all of them `done`.

    Raises NotDone for a refused or stale one, with the walker's reason, and Unavailable when one is
    missing: it stays logged all the same.
    """
    check_answered(requests, answers)
    ordered = [answers[request.command_id] for request in requests]
    for answer in ordered:
        if answer.answer != "done":
            raise NotDone(f"{answer.table.key}: {answer.answer}: {answer.reason}")
    return ordered


def check_answered(requests: Sequence[Request], answers: Mapping[str, CommandAnswered]) -> None:
    """Raise Unavailable when an answer is missing, with what becomes of its request."""
    missing = sum(request.command_id not in answers for request in requests)
    if missing:
        raise Unavailable(
            f"no walker has taken {_count(missing)} yet; it is logged, and will be done "
            "when one runs",
            remedy="start one: `pagestream run walker`",
        )


def _count(requests: int) -> str:
    return "the request" if requests == 1 else f"{requests} of the requests"
