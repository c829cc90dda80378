"""Who sends commands during a run: the operators and the reconciler, and what they see of it."""

import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from fix_walker import WalkerRig

from runtime.errors import PagestreamError
from runtime.kafka.reading import LogReader
from runtime.kafka.records import EARLIEST, Partition, Record, outgoing
from schemas import commands
from schemas.codec import decode, type_header
from schemas.commands import Request, TakeStep
from schemas.events import CommandAnswered
from schemas.records import Municipality
from schemas.tables import PARTITIONS, Kind, Table
from schemas.topics import COMMANDS, LEDGER, WALKS
from schemas.verdicts import Outcome, Verdict
from schemas.walks import Schedule, WalkState
from soak.orders import Order

_READ_SECONDS: Final = 10.0
_ANSWER: Final = type_header(CommandAnswered)


class Watch:
    """The newest state of each table and the requests answered, as the log says, a moment ago."""

    def __init__(self, rig: WalkerRig) -> None:
        self.states: Final[dict[Table, WalkState]] = {}
        self.answered: Final[set[str]] = set()
        self._rig = rig
        self._reader = self._follow()

    def update(self) -> None:
        """Take in what has come, without waiting."""
        try:
            while (item := self._reader.poll(0)) is not None:
                if isinstance(item, Record):
                    self._take(item)
        except PagestreamError:
            self.close()
            self._reader = self._follow()

    def close(self) -> None:
        """Follow no longer."""
        self._reader.__exit__()

    def _follow(self) -> LogReader:
        reader = LogReader(self._rig.settings)
        topics, numbers = (WALKS.name, LEDGER.name), range(PARTITIONS)
        reader.follow({Partition(t, number): EARLIEST for t in topics for number in numbers})
        return reader

    def _take(self, record: Record) -> None:
        if record.topic == WALKS.name:
            state = cast("WalkState", decode(record.type_header, record.value))
            known = self.states.get(state.table)
            if known is None or known.revision < state.revision:
                self.states[state.table] = state
        elif record.type_header == _ANSWER:
            answer = cast("CommandAnswered", decode(record.type_header, record.value))
            self.answered.add(answer.command_id)


class Person:
    """Sends commands, and remembers each, so that the very same can be sent again.

    `ids` are the source's ids of each kind. What was sent is written to the file `log`.
    """

    def __init__(
        self, rig: WalkerRig, watch: Watch, rows: int, ids: dict[Kind, list[str]], log: Path
    ) -> None:
        self.sent: Final[Counter[str]] = Counter()
        self.asked: Final[set[str]] = set()
        self._rig = rig
        self._watch = watch
        self._rows = rows
        self._ids = ids
        self._log = log
        self._made: dict[Order, commands.Command] = {}

    @property
    def unanswered(self) -> set[str]:
        """The ids of the requests that no walker has answered yet."""
        return self.asked - self._watch.answered

    def ask(self, command: type[Request], table: Table, **fields: Any) -> None:
        """Send a request; Kafka must be up."""
        self._send(self._addressed(command, table, fields), "")

    def obey(self, order: Order) -> bool:
        """Send what an order says, or the very same once more; return whether it was possible."""
        again = order in self._made
        if not again:
            made = self._make(order)
            if made is None:
                return False
            self._made[order] = made
        self._send(self._made[order], "again" if again else "")
        return True

    def _send(self, message: commands.Command, remark: str) -> None:
        if isinstance(message, Request):
            self.asked.add(message.command_id)
        self.sent[type(message).__name__] += 1
        with self._log.open("a") as log:
            log.write(f"{datetime.now(UTC):%H:%M:%S.%f} {remark:5} {message}\n")
        table = message.table
        self._rig.publish(outgoing(COMMANDS, table.key, table.partition, message))

    def _addressed(self, command: type[Request], table: Table, fields: dict[str, Any]) -> Request:
        return command(
            site=table.site,
            kind=table.kind,
            command_id=uuid.uuid4().hex,
            sent_by="soak",
            sent_at=datetime.now(UTC),
            **fields,
        )

    def _make(self, order: Order) -> commands.Command | None:
        table = order.table
        state = self._watch.states.get(table) or WalkState(site=table.site, kind=table.kind)
        walk = max(0, state.walk + order.walk)
        if order.command == "TakeStep":
            return self._step_of_old(table, order.numbers[0])
        if order.command == "StillWaiting":
            at = datetime.now(UTC)
            return commands.StillWaiting(site=table.site, kind=table.kind, walk=walk, at=at)
        fields = self._fields(order, state, walk)
        return self._addressed(getattr(commands, order.command), table, fields)

    def _fields(self, order: Order, state: WalkState, walk: int) -> dict[str, Any]:
        match order.command:
            case "StartWalk":
                return {"mode": order.detail, "rows": self._rows}
            case "AddSite":
                return {"municipality": municipality(order.table)}
            case "SetSchedule":
                return {"schedule": _schedule(order)}
            case "RemoveSite" | "ForceFull":
                return {}
        return {"walk": walk, **self._of_a_verdict(order, state)}

    def _of_a_verdict(self, order: Order, state: WalkState) -> dict[str, Any]:
        match order.command:
            case "RefetchPages" | "PrunePages":
                ids = tuple(dict.fromkeys(self._id(order.table, n) for n in order.numbers))
                return {"round": 0, "ids": ids}
            case "RecordVerdict":
                verdict = given(state, cast("Outcome", order.detail))
                return {"round": 0, "barrier": state.barrier, "verdict": verdict}
        return {}

    def _id(self, table: Table, place: float) -> str:
        ids = self._ids[table.kind]
        number = int(place * len(ids))
        return ids[number] if number < len(ids) else f"gone{number:08d}"

    def _step_of_old(self, table: Table, place: float) -> TakeStep | None:
        """Return a step that stands in the log already."""
        where = Partition(COMMANDS.name, table.partition)
        with LogReader(self._rig.settings) as reader:
            read = list(reader.read(self._rig.cluster.ends([where]), seconds=_READ_SECONDS))
        mine = [r for r in read if r.key == table.key and r.type_header == type_header(TakeStep)]
        steps = [decode(record.type_header, record.value) for record in mine]
        return cast("TakeStep", steps[int(place * len(steps))]) if steps else None


def _schedule(order: Order) -> Schedule:
    full, incremental, verify = (number or None for number in order.numbers)
    return Schedule(full_every=full, incremental_every=incremental, verify_every=verify)


def municipality(table: Table) -> Municipality:
    """Return what is known of a table's site."""
    return Municipality(site=table.site, name=table.site.title())


def given(state: WalkState, outcome: Outcome) -> Verdict:
    """Return a verdict of the walk that a state is of."""
    return Verdict(outcome=outcome, as_of=state.listed_at, reason=f"drawn by chance: {outcome}")
