"""Asking the walker for something: send commands, and wait for their answers in the ledger."""

import getpass
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

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
from schemas.topics import COMMANDS, LEDGER

ANSWER_SECONDS: Final = 10.0
"""How long to wait for the next answer before saying that no walker is at work."""

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
    silence: float = ANSWER_SECONDS,
) -> dict[str, CommandAnswered]:
    """Send requests and return their answers, by command id.

    1. Note where the ledger ends. 2. Send. 3. Read on from there until every request is answered,
    or no answer has come for `silence` seconds: those that were not answered are missing from the
    result, but they stay logged.
    """
    ledger = {Partition(LEDGER.name, request.table.partition) for request in requests}
    starts = cluster.ends(ledger)
    waiting = {request.command_id for request in requests}
    answers: dict[str, CommandAnswered] = {}
    with LogReader(settings) as reader:
        reader.follow(starts)
        send(settings, requests)
        deadline = time.monotonic() + silence
        while waiting and time.monotonic() < deadline:
            item = reader.poll(0.2)
            if not isinstance(item, Record) or item.type_header != _ANSWER:
                continue
            answer = expect(CommandAnswered, item)
            if answer.command_id in waiting:
                waiting.remove(answer.command_id)
                answers[answer.command_id] = answer
                deadline = time.monotonic() + silence
    return answers


def settled(
    requests: Sequence[Request], answers: Mapping[str, CommandAnswered]
) -> list[CommandAnswered]:
    """Return the answers in the order of the requests, all of them `done`.

    Raises NotDone for a refused or stale one, with the walker's reason, and Unavailable when one is
    missing: it stays logged all the same.
    """
    unanswered = [request for request in requests if request.command_id not in answers]
    if unanswered:
        raise Unavailable(
            f"no walker has taken {_count(unanswered)} yet; it is logged, and will be done when "
            "one runs",
            remedy="start one: `pagestream run walker`",
        )
    ordered = [answers[request.command_id] for request in requests]
    for answer in ordered:
        if answer.answer != "done":
            raise NotDone(f"{answer.table.key}: {answer.answer}: {answer.reason}")
    return ordered


def _count(requests: Sequence[Request]) -> str:
    return "the request" if len(requests) == 1 else f"{len(requests)} of the requests"
