"""What a person says of a table: that it is there, or no longer, and how it is to be walked."""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from producer.decide.dueness import due
from producer.decide.outcome import Outcome, accept, done, preceded, refused
from producer.decide.repairing import dropped
from producer.decide.timing import RESTING, next_walk
from producer.policy import Policy
from runtime.durations import LONGEST_SECONDS
from schemas.commands import AddSite, ForceFull, RemoveSite, SetSchedule
from schemas.records import SiteRemoved
from schemas.walks import Schedule, WalkState

_SHORTEST_SECONDS: Final = 1.0


def add_site(state: WalkState, command: AddSite, now: datetime, policy: Policy) -> Outcome:
    """Know a table; one that was removed begins anew, with walks and barriers numbered on."""
    if command.municipality.site != command.site:
        reason = f"the record is of site {command.municipality.site!r}"
        return refused(state, command, reason, now)
    known = state.revision > 0 and state.status != "removed"
    if known:
        added, reason = accept(state, command, now, secret=command.secret), "site updated"
    else:
        added, reason = _new(state, command, now, policy), "site added"
    outcome = replace(done(added, command, reason, now), municipality=command.municipality)
    # A step names the secret that it is taken with: the one in the log is stale by a new one.
    step = due(added)
    anew = step != due(state) and added.retry_at is None
    return replace(outcome, next_command=step) if anew else outcome


def _new(state: WalkState, command: AddSite, now: datetime, policy: Policy) -> WalkState:
    fresh = WalkState(
        site=state.site,
        kind=state.kind,
        revision=state.revision,
        walk=state.walk,
        barrier=state.barrier,
        recent=state.recent,
        secret=command.secret,
        added_at=now,
    )
    return accept(fresh, command, now, **next_walk(fresh, now, policy))


def remove_site(state: WalkState, command: RemoveSite, now: datetime) -> Outcome:
    """Forget a table: its rows go, and whatever was due or planned goes with them."""
    record = command.municipality
    if record is not None and (record.site != command.site or not record.removed):
        reason = f"the record is of site {record.site!r}, or does not say that it is removed"
        return refused(state, command, reason, now)
    if state.status == "removed":
        return done(accept(state, command, now), command, "already removed", now)
    gone = WalkState(
        site=state.site,
        kind=state.kind,
        revision=state.revision,
        status="removed",
        walk=state.walk,
        barrier=state.barrier,
        recent=state.recent,
        ended_at=now,
    )
    outcome = replace(
        done(accept(gone, command, now), command, "site removed", now),
        site_removed=SiteRemoved(site=state.site, kind=state.kind, walk=state.walk, at=now),
        municipality=record,
    )
    return preceded(outcome, *dropped(state, now))


def force_full(state: WalkState, command: ForceFull, now: datetime) -> Outcome:
    """Have the next walk be a full one; the one under way began too early to count."""
    forced = accept(state, command, now, full_forced_after=state.walk)
    return done(forced, command, "the next walk is a full one", now)


def set_schedule(state: WalkState, command: SetSchedule, now: datetime, policy: Policy) -> Outcome:
    """Walk a table by another schedule from now on."""
    if (wrong := _wrong(command.schedule)) is not None:
        reason = f"{wrong:g} s between two walks: one second to ten years are possible"
        return refused(state, command, reason, now)
    scheduled = accept(state, command, now, schedule=command.schedule)
    if scheduled.status in RESTING:
        scheduled = replace(scheduled, **next_walk(scheduled, now, policy))
    return done(scheduled, command, "schedule set", now)


def _wrong(schedule: Schedule | None) -> float | None:
    if schedule is None:
        return None
    spans = (schedule.full_every, schedule.incremental_every, schedule.verify_every)
    given = (seconds for seconds in spans if seconds is not None)
    return next((s for s in given if not _SHORTEST_SECONDS <= s <= LONGEST_SECONDS), None)
