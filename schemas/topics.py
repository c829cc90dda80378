"""The topics, each as one reviewed record: they are created, checked and documented from here."""

from datetime import timedelta
from typing import Final, Literal

import msgspec

from schemas import commands, events, records, walks
from schemas.message import Message

MAX_MESSAGE_BYTES: Final = 16_000_000
"""The most one record may take, for clients and topics alike; what is larger is dead-lettered."""

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)

Role = Literal["cli", "console", "walker", "sink", "reconciler", "webhook"]


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic: what it holds, under which key, for how long, and who writes and reads it.

    `retention` bounds a deleted topic's records; None means compacted: the newest of each key is
    kept for ever. `tombstone_life` is how long a deletion stays readable in a compacted topic.
    `settings` are further Kafka topic settings.
    """

    name: str
    purpose: str
    key: str
    messages: tuple[type[Message], ...]
    writers: tuple[Role, ...]
    readers: tuple[Role, ...]
    retention: timedelta | None = None
    tombstone_life: timedelta | None = None
    settings: dict[str, str] = {}

    def full_name(self, prefix: str) -> str:
        """Return the topic's name on the broker."""
        return f"{prefix}.{self.name}"

    def config(self) -> dict[str, str]:
        """Return every Kafka setting that this topic is created with and checked against."""
        config = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
        if self.retention is None:
            config["cleanup.policy"] = "compact"
        else:
            config |= {"cleanup.policy": "delete", "retention.ms": _milliseconds(self.retention)}
        if self.tombstone_life is not None:
            config["delete.retention.ms"] = _milliseconds(self.tombstone_life)
        return config | self.settings


def _milliseconds(span: timedelta) -> str:
    return str(span // timedelta(milliseconds=1))


COMMANDS: Final = Topic(
    name="commands",
    purpose="What is asked of each table's walk, in the order in which it is decided.",
    key="site/kind",
    messages=(
        commands.StartWalk,
        commands.TakeStep,
        commands.PauseWalk,
        commands.ResumeWalk,
        commands.CancelWalk,
        commands.RetryWalk,
        commands.ForceFull,
        commands.SetSchedule,
        commands.AddSite,
        commands.RemoveSite,
        commands.RefetchPages,
        commands.PrunePages,
        commands.StillWaiting,
        commands.RecordVerdict,
        commands.ApproveVerdict,
        commands.RejectVerdict,
    ),
    writers=("cli", "console", "webhook", "walker", "reconciler"),
    readers=("walker",),
    retention=30 * _DAY,
)

WALKS: Final = Topic(
    name="walks",
    purpose="The progress record of each table: the walker's memory.",
    key="site/kind",
    messages=(walks.WalkState,),
    writers=("walker",),
    readers=("walker", "sink", "cli", "console"),
    # Small segments, compacted soon: a walker reads all of it whenever it takes a partition over.
    settings={
        "segment.ms": _milliseconds(10 * _MINUTE),
        "segment.bytes": str(8 * 1024 * 1024),
        "max.compaction.lag.ms": _milliseconds(_HOUR),
    },
)

MUNICIPALITIES: Final = Topic(
    name="municipalities",
    purpose="What is known of each site.",
    key="site",
    messages=(records.Municipality,),
    writers=("walker",),
    readers=("sink", "cli", "console"),
)

PAGES: Final = Topic(
    name="pages",
    purpose="Every page as it was read: the copy can be built again from this topic alone.",
    key="site/kind/id; site/kind#barrier; site/kind#removed",
    messages=(records.Page, records.WalkBarrier, records.SiteRemoved),
    writers=("walker",),
    readers=("sink",),
    # A deletion must outlive the oldest database backup, or a restore would bring the row back.
    tombstone_life=30 * _DAY,
)

LEDGER: Final = Topic(
    name="ledger",
    purpose="The account of every step, listing, repair and answer.",
    key="site/kind",
    messages=(
        events.CommandAnswered,
        events.WalkStarted,
        events.StepWalked,
        events.SourceListed,
        events.WalkEnded,
        events.WalkFailed,
        events.RowsAmended,
        events.VerdictGiven,
    ),
    writers=("walker",),
    readers=("reconciler", "cli", "console"),
    retention=30 * _DAY,
)

DEAD_LETTERS: Final = Topic(
    name="dead-letters",
    purpose="Records that cannot be stored, with the reason and the original bytes.",
    key="site/kind/identity",
    messages=(records.DeadLetter,),
    writers=("walker", "sink"),
    readers=("sink", "cli", "console"),
    retention=90 * _DAY,
)

TOPICS: Final = (COMMANDS, WALKS, MUNICIPALITIES, PAGES, LEDGER, DEAD_LETTERS)
