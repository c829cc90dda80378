"""The commands of the walker: what a person, a timer or itself may ask of a table's walk."""

from datetime import datetime

from schemas.message import Message
from schemas.records import Municipality
from schemas.tables import Kind, Table
from schemas.verdicts import Verdict
from schemas.walks import Position, RequestedMode, Schedule, Window


class Command(Message, frozen=True, kw_only=True):
    """A record on `commands`, keyed by its table and decided strictly in order."""

    site: str
    kind: Kind

    @property
    def table(self) -> Table:
        """The table that this command is for."""
        return Table(self.site, self.kind)


class Request(Command, frozen=True, kw_only=True):
    """A command that somebody sent and that is answered in the ledger under its `command_id`."""

    command_id: str
    sent_by: str
    sent_at: datetime


class TakeStep(Command, frozen=True, kw_only=True):
    """Make the one request that is due. Carries everything of it: any other TakeStep is stale.

    `secret` names the site's own service secret. `due_at` is set by a retry's timer.
    """

    walk: int
    step: int
    attempt: int = 0
    position: Position
    rows: int
    window: Window | None = None
    secret: str | None = None
    due_at: datetime | None = None


class AddSite(Request, frozen=True, kw_only=True):
    """Know this table, and what `municipality` says of its site. Sent once per kind.

    `secret` names the site's own service secret, whose value only the walker's surroundings hold.
    """

    municipality: Municipality
    secret: str | None = None


class RemoveSite(Request, frozen=True, kw_only=True):
    """Forget this table and delete its rows. Sent once per kind.

    `municipality` is the site's record, flagged as removed, when no other table of it is left.
    """

    municipality: Municipality | None = None


class StartWalk(Request, frozen=True, kw_only=True):
    """Walk the table. During a walk it waits as the one follow-up.

    `after_walk` is the number of the newest walk that the sender saw; when another has begun since,
    the command is stale. None (a timer's, a webhook's) means whatever has been walked.
    `due_at` is set by a schedule's timer and must equal the state's own.
    """

    mode: RequestedMode = "auto"
    rows: int = 1000
    after_walk: int | None = None
    due_at: datetime | None = None


class PauseWalk(Request, frozen=True, kw_only=True):
    """Stop before the next step of this walk and keep its position."""

    walk: int


class ResumeWalk(Request, frozen=True, kw_only=True):
    """Go on with this paused walk at the step that is due."""

    walk: int


class CancelWalk(Request, frozen=True, kw_only=True):
    """End this walk for good, and its follow-up with it."""

    walk: int


class RetryWalk(Request, frozen=True, kw_only=True):
    """Try this failed walk again at the step where it failed."""

    walk: int


class ForceFull(Request, frozen=True, kw_only=True):
    """Make the next walk a full one, until a full walk begun after this is completed."""


class SetSchedule(Request, frozen=True, kw_only=True):
    """Walk this table again and again by this schedule; None for that of the settings."""

    schedule: Schedule | None = None


class Repair(Request, frozen=True, kw_only=True):
    """Ask the source for exactly these ids, and for one that is known to be there.

    At most 300 ids. A response without `control_id` is broken: it proves nothing of the others.
    Without one, the first id that the source itself has serves. `attempt` and `due_at` are a
    retry's, set by its timer.
    """

    walk: int
    round: int
    ids: tuple[str, ...]
    control_id: str | None = None
    secret: str | None = None
    attempt: int = 0
    due_at: datetime | None = None


class RefetchPages(Repair, frozen=True, kw_only=True):
    """Publish these pages again, as the source has them now. One that is gone is left as it is."""


class PrunePages(Repair, frozen=True, kw_only=True):
    """Publish a tombstone for each of these pages that the source no longer has, else the page."""


class StillWaiting(Command, frozen=True, kw_only=True):
    """The reconciler has not judged this walk yet, and says so before the verdict times out."""

    walk: int
    at: datetime


class RecordVerdict(Request, frozen=True, kw_only=True):
    """End the walk with what the reconciler found; `barrier` is the one it was judged at.

    `due_at` is set by the timer that ends the waiting for a verdict.
    """

    walk: int
    round: int
    barrier: int
    verdict: Verdict
    due_at: datetime | None = None


class ApproveVerdict(Request, frozen=True, kw_only=True):
    """A person agrees that the held verdict's ghosts may go."""

    walk: int


class RejectVerdict(Request, frozen=True, kw_only=True):
    """A person keeps the rows that the held verdict calls ghosts."""

    walk: int
