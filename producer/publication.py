"""What a decision looks like on the wire: the records of one outcome, in order."""

from collections.abc import Iterator
from typing import Final

import msgspec

from producer.decide import Outcome
from runtime.kafka.records import Outgoing, outgoing, tombstone
from schemas.codec import WALK_HEADER
from schemas.commands import Command
from schemas.records import DeadLetter
from schemas.tables import Table, partition_of
from schemas.topics import COMMANDS, DEAD_LETTERS, LEDGER, MUNICIPALITIES, PAGES, WALKS

AS_OF_HEADER: Final = "as-of"
"""On a state: the offset of the command after the one that made it."""

COMMANDS_HEADER: Final = "commands"
"""On a state: the id of the topic of commands in which its as-of counts."""

CAUSE_HEADER: Final = "cause"
"""On every other record of the walker: partition and offset of the command that caused it."""


def records_of(outcome: Outcome, table: Table, offset: int) -> Iterator[Outgoing]:
    """Yield what the command at `offset` of the table's partition brought about, but its state."""
    partition, key, cause = table.partition, table.key, _cause(table, offset)
    yield from _pages_of(outcome, table, cause)
    for letter in outcome.dead_letters:
        yield outgoing(DEAD_LETTERS, table.record_key(letter.identity), partition, letter, cause)
    if (municipality := outcome.municipality) is not None:
        site = municipality.site
        yield outgoing(MUNICIPALITIES, site, partition_of(site), municipality, cause)
    for event in outcome.events:
        yield outgoing(LEDGER, key, partition, event, cause)
    if outcome.next_command is not None:
        yield outgoing(COMMANDS, key, partition, outcome.next_command, cause)


def _cause(table: Table, offset: int) -> dict[str, bytes]:
    return {CAUSE_HEADER: f"{table.partition}/{offset}".encode()}


def _pages_of(outcome: Outcome, table: Table, cause: dict[str, bytes]) -> Iterator[Outgoing]:
    """Yield the records of `pages`, each barrier behind all that it closes."""
    partition = table.partition
    for page in outcome.pages:
        yield outgoing(PAGES, table.record_key(page.id), partition, page, cause)
    walk = {WALK_HEADER: str((outcome.ended or outcome.state).walk).encode()}
    for page_id in outcome.tombstones:
        gone = tombstone(PAGES, table.record_key(page_id), partition)
        yield msgspec.structs.replace(gone, headers=gone.headers | walk | cause)
    if outcome.barrier is not None:
        yield outgoing(PAGES, table.barrier_key, partition, outcome.barrier, cause)
    if outcome.site_removed is not None:
        yield outgoing(PAGES, table.removal_key, partition, outcome.site_removed, cause)


def put_back(command: Command, offset: int) -> Outgoing:
    """Return the command at `offset` of its table's partition once more, for the log's end."""
    table = command.table
    return outgoing(COMMANDS, table.key, table.partition, command, _cause(table, offset))


def given(command: Command) -> Outgoing:
    """Return the record of a command that nothing in the log has caused."""
    return outgoing(COMMANDS, command.table.key, command.table.partition, command)


def states_of(outcome: Outcome, table: Table, as_of: int, commands_id: str) -> Iterator[Outgoing]:
    """Yield the states that an outcome leaves, as of the command before offset `as_of`.

    `commands_id` is the id of the topic of commands: an offset means nothing without it.
    """
    headers = {AS_OF_HEADER: str(as_of).encode(), COMMANDS_HEADER: commands_id.encode()}
    if outcome.ended is not None:
        yield outgoing(WALKS, table.key, table.partition, outcome.ended, headers)
    yield outgoing(WALKS, table.key, table.partition, outcome.state, headers)


def letter_record(letter: DeadLetter) -> Outgoing:
    """Return the record of a dead letter of no table: it goes to the partition it came from."""
    return outgoing(DEAD_LETTERS, letter.identity, letter.partition or 0, letter)
