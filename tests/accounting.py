"""The account of a walker: every row once, and all of it what `decide` makes of its inputs.

Every record of the walker names the command that caused it. So a response of the source, or its
failure, can be taken back out of the records that it brought about, and each command be decided
once more:

1. Commands are taken in the order of their partition, up to the group's committed offset.
2. Each is decided on the state that its predecessors left, with the response that is recorded. One
   that only caused itself was put back, which only one that waits for a response may be.
3. What is in the log with this cause must be exactly what is published for the outcome.
4. Nothing is left whose cause is not one of these, and no due command was passed over.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple

from fix_walker import WalkerRig

from producer.decide import FetchedCommand, decide, fetchable
from producer.intake import Unreadable, read_command
from producer.policy import Policy, policy_of
from producer.publication import AS_OF_HEADER, CAUSE_HEADER, put_back, records_of, states_of
from producer.responses import Failure, Fetched, ListingResponse, PagesResponse, RepairResponse
from producer.walker import group_name
from runtime.kafka.records import Outgoing, Partition, Record
from schemas.codec import decode, encode
from schemas.commands import PrunePages, TakeStep
from schemas.events import (
    CommandAnswered,
    Event,
    RowsAmended,
    SourceListed,
    StepWalked,
    VerdictGiven,
    WalkEnded,
    WalkFailed,
)
from schemas.message import Message
from schemas.records import DeadLetter, Page, WalkBarrier
from schemas.tables import PARTITIONS, Table
from schemas.topics import COMMANDS, LEDGER, PAGES, TOPICS, WALKS, Topic
from schemas.verdicts import Verdict
from schemas.walks import Position, WalkState


class Cause(NamedTuple):
    """The command at an offset of a partition."""

    partition: int
    offset: int


class Account:
    """All that is in a rig's topics at one time, read in one pass."""

    def __init__(self, rig: WalkerRig) -> None:
        self._rig = rig
        self._records: dict[str, list[Record]] = {topic.name: [] for topic in TOPICS}
        for record in rig.all_records(*TOPICS):
            self._records[record.topic].append(record)

    def messages(self, topic: Topic) -> list[Message]:
        """Return a topic's messages, in order per partition."""
        records = [record for record in self._records[topic.name] if record.value is not None]
        return [decode(record.type_header, record.value) for record in records]

    def assert_replayed(self) -> None:
        """Decide every command again, and compare all that was published."""
        caused = self._outputs()
        committed = self._committed()
        commands_id = self._rig.cluster.check_topics()[COMMANDS.name]
        policy = policy_of(self._rig.settings)
        states: dict[str, WalkState] = {}
        for record in self._records[COMMANDS.name]:
            if record.offset >= committed[record.partition]:
                continue
            cause = Cause(record.partition, record.offset)
            recorded = caused.pop(cause, [])
            expected = _replay(record, recorded, states, commands_id, policy)
            assert _comparable(recorded) == _comparable(expected), f"of {cause}"
        assert not caused, f"outputs of commands that were not decided: {sorted(caused)}"
        newest = {record.key: record.value for record in self._records[WALKS.name]}
        assert newest == {key: encode(state) for key, state in states.items() if state.revision}

    def _committed(self) -> dict[int, int]:
        """Return the next offset to be decided; beyond it are commands not taken yet."""
        partitions = [Partition(COMMANDS.name, number) for number in range(PARTITIONS)]
        positions = self._rig.cluster.committed(group_name(self._rig.settings), partitions)
        return {partition.number: found.offset or 0 for partition, found in positions.items()}

    def _outputs(self) -> dict[Cause, list[Record]]:
        caused = defaultdict(list)
        for record in chain.from_iterable(self._records.values()):
            if AS_OF_HEADER in record.headers:
                cause = Cause(record.partition, int(record.headers[AS_OF_HEADER]) - 1)
            elif CAUSE_HEADER in record.headers:
                cause = Cause(*map(int, record.headers[CAUSE_HEADER].split(b"/")))
            else:
                continue  # a command from outside, from a timer, or given again
            caused[cause].append(record)
        return caused

    def assert_walked_once(self, table: Table, pages: int, rows: int) -> None:
        """Check one walk: each row once, each step once and in order, and the sums agree."""
        records = [m for m in self.messages(PAGES) if isinstance(m, Page | WalkBarrier)]
        published = [m for m in records if isinstance(m, Page) and (m.site, m.kind) == table]
        expected = {f"{number:012x}": 1 for number in range(pages)}
        assert Counter(page.id for page in published) == expected
        events = [m for m in self.messages(LEDGER) if isinstance(m, Event) and m.table == table]
        steps = [e for e in events if isinstance(e, StepWalked | SourceListed)]
        assert [step.step for step in steps] == list(range(2 * -(-pages // rows)))
        walked = [step for step in steps if isinstance(step, StepWalked)]
        assert sum(step.hash_sum for step in walked) == sum(page.row_hash for page in published)
        (ended,) = [e for e in events if isinstance(e, WalkEnded)]
        assert (ended.pages, ended.listed, ended.steps) == (pages, pages, len(steps))
        barriers = [m for m in records if isinstance(m, WalkBarrier) and (m.site, m.kind) == table]
        assert [barrier.number for barrier in barriers] == [1]


def _replay(
    record: Record,
    recorded: Sequence[Record],
    states: dict[str, WalkState],
    commands_id: str,
    policy: Policy,
) -> list[Outgoing]:
    command = read_command(record)
    if isinstance(command, Unreadable):
        return []  # its letter tells where it came from, and names no cause
    table = command.table
    before = states.get(table.key) or WalkState(site=table.site, kind=table.kind)
    waits = isinstance(command, FetchedCommand) and fetchable(before, command)
    if [(r.topic, r.key, r.value) for r in recorded] == [(COMMANDS.name, record.key, record.value)]:
        assert isinstance(command, FetchedCommand)
        assert waits, f"{command} was put back, but need not have waited"
        return [put_back(command, record.offset)]
    caused = Caused(recorded)
    fetched = _fetched(before, command, caused) if waits else _refusal_of_kafka(caused)
    assert fetched or not waits, f"the due command {command} was passed over"
    outcome = decide(before, command, fetched, caused.time, policy)
    states[table.key] = outcome.state
    published = list(records_of(outcome, table, record.offset))
    if outcome.state != before:
        published += states_of(outcome, table, record.offset + 1, commands_id)
    return published


class Caused:
    """What one command brought about, by what it is."""

    def __init__(self, recorded: Sequence[Record]) -> None:
        with_value = [r for r in recorded if r.value is not None]
        self.messages = [decode(r.type_header, r.value) for r in with_value]
        self.deleted = [Table.parse_record_key(r.key or "")[1] for r in recorded if r.value is None]
        self.pages = tuple(m for m in self.messages if isinstance(m, Page))
        self.letters = tuple(m for m in self.messages if isinstance(m, DeadLetter))
        self.events = [m for m in self.messages if isinstance(m, Event)]
        self.states = [m for m in self.messages if isinstance(m, WalkState)]

    @property
    def following(self) -> Position | None:
        """Where the step that was given next begins."""
        return next((m.position for m in self.messages if isinstance(m, TakeStep)), None)

    @property
    def time(self) -> datetime:
        """The time at which these were decided: the one input that is in each of them."""
        for message in self.messages:
            match message:
                case WalkState(updated_at=datetime() as time) | CommandAnswered(at=time):
                    return time
        return datetime.now(UTC)


def _fetched(before: WalkState, command: FetchedCommand, caused: Caused) -> Fetched | None:
    """Take the source's response back out of what it brought about."""
    for event in caused.events:
        match event:
            case StepWalked():
                return PagesResponse(
                    pages=caused.pages,
                    rejected=caused.letters,
                    next=event.next,
                    last_id=caused.following.after if caused.following else None,
                    requested_at=event.at,
                    seconds=event.seconds,
                )
            case SourceListed():
                return ListingResponse(
                    ids=event.ids,
                    after=event.after,
                    listed_by=event.listed_by,
                    next=None if event.last or not caused.following else caused.following.cursor,
                    last=event.last,
                    requested_at=event.requested_at,
                    seconds=0,
                )
            case RowsAmended():
                return _repaired(event, command, caused)
    return _failure(before, caused)


def _repaired(event: RowsAmended, command: FetchedCommand, caused: Caused) -> RepairResponse:
    absent = tuple(amended.id for amended in event.amendments if amended.row_hash is None)
    assert caused.deleted == (list(absent) if isinstance(command, PrunePages) else [])
    return RepairResponse(
        pages=caused.pages,
        rejected=caused.letters,
        absent=absent,
        requested_at=event.at,
        seconds=0,
    )


def _failure(before: WalkState, caused: Caused) -> Failure | None:
    """Return the failure that was the end of something, or has it tried again."""
    for event in caused.events:
        match event:
            case WalkFailed():
                return Failure(reason=event.reason, error=event.error, received=event.received)
            case VerdictGiven(verdict=Verdict(outcome="absent", reason=str() as reason)):
                return Failure(reason="not_found", error=reason)
            case CommandAnswered(answer="refused", reason=str() as reason):
                return Failure(reason="refused", error=reason)
    return _failed_try(before, caused.states[-1]) if caused.states else None


def _failed_try(before: WalkState, after: WalkState) -> Failure:
    """Return a failure after which something is tried again, by how that is done."""
    error = after.last_error or ""
    if after.refusals > before.refusals:
        return Failure(reason="rate_limited", error=error, retry_after=after.retry_seconds)
    if after.size < before.size:
        halved = after.size == max(before.size // 2, 50)
        return Failure(reason="interrupted" if halved else "too_large", error=error)
    return Failure(reason="server_error", error=error)


def _refusal_of_kafka(caused: Caused) -> Failure | None:
    """Return why a request was refused, where it was Kafka that would not have what follows."""
    for event in caused.events:
        if isinstance(event, CommandAnswered) and "Kafka refused" in (event.reason or ""):
            return Failure(reason="unpublishable", error=event.reason or "")
    return None


def _comparable(records: Sequence[Record] | Sequence[Outgoing]) -> list[tuple[object, ...]]:
    """Return records topic by topic, in order, without what only the broker knows."""
    shown: list[tuple[object, ...]] = [
        (r.topic, r.partition, r.key, r.value, r.headers) for r in records
    ]
    return sorted(shown, key=lambda record: str(record[0]))
