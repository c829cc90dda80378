"""What a decision looks like on the wire: the records of one outcome, in order."""

from collections.abc import Iterator
from typing import Final

from producer.decide import Outcome
from runtime.kafka.records import Outgoing, outgoing
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
    partition, key = table.partition, table.key
    cause = {CAUSE_HEADER: f"{partition}/{offset}".encode()}
    for page in outcome.pages:
        yield outgoing(PAGES, table.record_key(page.id), partition, page, cause)
    if outcome.barrier is not None:
        yield outgoing(PAGES, table.barrier_key, partition, outcome.barrier, cause)
    for letter in outcome.dead_letters:
        yield outgoing(DEAD_LETTERS, table.record_key(letter.identity), partition, letter, cause)
    if (municipality := outcome.municipality) is not None:
        site = municipality.site
        yield outgoing(MUNICIPALITIES, site, partition_of(site), municipality, cause)
    for event in outcome.events:
        yield outgoing(LEDGER, key, partition, event, cause)
    if outcome.next_step is not None:
        yield outgoing(COMMANDS, key, partition, outcome.next_step, cause)


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
