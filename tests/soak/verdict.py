"""What must hold when a run has healed and drained: everything, as if nothing had befallen it."""

from collections import Counter, defaultdict
from collections.abc import Iterator

import oracle
import psycopg
from accounting import Account

from schemas.codec import decode
from schemas.events import CommandAnswered, SourceListed, StepWalked, WalkEnded, WalkFailed
from schemas.message import Message
from schemas.records import Page
from schemas.tables import Kind
from schemas.topics import LEDGER, PAGES
from soak.road import Road

Walk = tuple[str, Kind, int]

# What a supervisor starts again: told to end (-15: before it listened), killed, a server away,
# stuck, fenced out of its slot. All else is for a person to mend, and nothing here needs one.
_EXPECTED_ENDS = frozenset({0, -15, -9, 69, 70, 75})


def findings(road: Road) -> list[str]:
    """Return everything that is wrong, in words; nothing is a good end."""
    account = Account(road.rig)
    return [
        *_differences(road),
        *_inexact_figures(road, account.messages(PAGES)),
        *_gaps(account.messages(LEDGER)),
        *_replay(account),
        *_ends(road),
    ]


def unanswered(road: Road) -> frozenset[str]:
    """Return the ids of commands that no walker has answered."""
    ledger = (decode(r.type_header, r.value) for r in road.rig.records(LEDGER))
    answered = {event.command_id for event in ledger if isinstance(event, CommandAnswered)}
    return road.asked - answered


def _differences(road: Road) -> Iterator[str]:
    for site in road.plan.sites:
        if differences := oracle.compare(road.database_file, road.database, site):
            yield f"{site} is not the same:\n{differences}"


def _inexact_figures(road: Road, pages: list[Message]) -> Iterator[str]:
    """Compare what the sink has counted of each walk with the log, record by record."""
    published: Counter[Walk] = Counter()
    for page in pages:
        if isinstance(page, Page):
            published[page.site, page.kind, page.walk or 0] += 1
    query = (
        "SELECT subdomain, kind, walk, created + unchanged, created, updated + deleted "
        "+ dead_lettered FROM pagestream.walk_figures"
    )
    counted, created = Counter[Walk](), Counter[tuple[str, Kind]]()
    with psycopg.connect(road.database) as connection:
        for site, kind, walk, applied, new, other in connection.execute(query):
            counted[site, kind, walk] = applied
            created[site, kind] += new
            if other:
                yield f"walk {walk} of {site}/{kind} changed {other} pages: nothing upstream did"
        stored = _stored(connection)
    for walk in sorted(published.keys() | counted.keys()):
        if published[walk] != counted[walk]:
            yield f"walk {walk}: {published[walk]} published, {counted[walk]} counted"
    if created != stored:
        yield f"pages counted as new: {created}, pages stored: {stored}"


def _stored(connection: psycopg.Connection) -> Counter[tuple[str, Kind]]:
    query = "SELECT subdomain, kind, count(*) FROM pagestream.meeting_page GROUP BY 1, 2"
    return Counter({(site, kind): count for site, kind, count in connection.execute(query)})


def _gaps(ledger: list[Message]) -> Iterator[str]:
    """Look for steps that are missing or there twice, in each walk that ended."""
    steps: dict[Walk, list[int]] = defaultdict(list)
    ended: dict[Walk, list[int]] = defaultdict(list)
    for event in ledger:
        if isinstance(event, StepWalked | SourceListed):
            steps[event.site, event.kind, event.walk].append(event.step)
        elif isinstance(event, WalkEnded | WalkFailed):
            end = event.steps if isinstance(event, WalkEnded) else event.step
            ended[event.site, event.kind, event.walk].append(end)
    for walk in sorted(steps.keys() | ended.keys()):
        if len(ended[walk]) != 1 or steps[walk] != list(range(ended[walk][0])):
            yield f"walk {walk} ended {ended[walk]}, its steps are {steps[walk]}"


def _replay(account: Account) -> Iterator[str]:
    try:
        account.assert_replayed()
    except AssertionError as error:
        yield f"a replay of the commands differs: {error}"


def _ends(road: Road) -> Iterator[str]:
    for worker in road.workers.values():
        if worker.ended.keys() - _EXPECTED_ENDS:
            yield f"{worker.name} ended with {dict(worker.ended)}"
        # The watchdog's 70 comes with a log line, a broken promise with a sentence.
        broken = f"{worker.name} ended with 70: pagestream: "
        yield from (words for words in worker.last_words if words.startswith(broken))
