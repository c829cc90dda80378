"""What must hold when a run has healed and drained: everything, as if nothing had befallen it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

import oracle
import psycopg
from accounting import Account

from runtime.kafka.records import Record
from schemas.codec import WALK_HEADER, decode
from schemas.events import CommandAnswered, Event
from schemas.records import Page, SiteRemoved, WalkBarrier
from schemas.tables import Kind, Table
from schemas.topics import LEDGER, PAGES
from soak.books import TableBooks
from soak.road import Road

Walk = tuple[str, Kind, int]

# What a supervisor starts again: told to end (-15: before it listened), killed, a server away,
# stuck, fenced out of its slot. All else is for a person to mend, and nothing here needs one.
_EXPECTED_ENDS = frozenset({0, -15, -9, 69, 70, 75})

# librdkafka's own fault (its issue 4605), up to 2.16 at least: a request about a group whose broker
# goes away may end the process. It is a crash like any other, and must do no more harm than one.
_ABORTED: Final = -6
_LIBRARY: Final = b"Assertion `eonce->refcnt > 0' failed"


class Verdict:
    """What is wrong with a run that has come to its end, in words; `told` counts its events."""

    def __init__(self, road: Road) -> None:
        self.told: Counter[str] = Counter()
        self._road = road
        self._account = Account(road.rig)
        self._pages = road.rig.records(PAGES)
        self.findings = [
            *self._books(),
            *self._differences(),
            *self._inexact_figures(),
            *self._not_projected(),
            *self._replay(),
            *self._ends(),
        ]

    def _books(self) -> Iterator[str]:
        """Add up each table's events."""
        books = {table: _books_of(self._road, table) for table in self._road.plan.tables}
        for event in self._account.messages(LEDGER):
            if isinstance(event, Event):
                books[event.table].tell(event)
            if isinstance(event, CommandAnswered):
                self.told[event.answer] += 1
        published: dict[Table, list[Page | WalkBarrier | SiteRemoved]] = defaultdict(list)
        for message in self._account.messages(PAGES):
            if isinstance(message, Page | WalkBarrier | SiteRemoved):
                published[Table(message.site, message.kind)].append(message)
        for table, book in books.items():
            book.compare(published[table])
            self.told += book.told
            yield from book.findings
        if unanswered := self._road.person.unanswered:
            yield f"{len(unanswered)} commands without an answer: {sorted(unanswered)}"

    def _differences(self) -> Iterator[str]:
        """Compare what is stored with the source; nothing is left of a table that was removed."""
        for site in self._road.plan.sites:
            found = oracle.compare(self._road.database_file, self._road.database, site)
            for table in (table for table in self._road.plan.tables if table.site == site):
                if self._road.watch.states[table].status == "removed":
                    yield from self._remains(table)
                elif lines := _of_kind(found, table.kind):
                    yield f"{table.key} is not the same: {lines}"

    def _remains(self, table: Table) -> Iterator[str]:
        with psycopg.connect(self._road.database) as connection:
            for view in ("meeting_page", "meeting_document"):
                query = f"SELECT FROM pagestream.{view} WHERE subdomain = %s AND kind = %s"
                if left := len(connection.execute(query, tuple(table)).fetchall()):
                    yield f"{table.key} was removed, but {left} rows are left in {view}"

    def _inexact_figures(self) -> Iterator[str]:
        """Compare what the sink has counted of each walk with the log, record by record."""
        published = Counter(filter(None, map(_walk_of, self._pages)))
        query = (
            "SELECT subdomain, kind, walk, created + unchanged, created - removed, "
            "updated + deleted + dead_lettered FROM pagestream.walk_figures"
        )
        counted, created = Counter[Walk](), Counter[tuple[str, Kind]]()
        with psycopg.connect(self._road.database) as connection:
            for site, kind, walk, applied, new, other in connection.execute(query):
                counted[site, kind, walk] = applied
                created[site, kind] += new
                if other:
                    yield f"walk {walk} of {site}/{kind} changed {other} pages: upstream did not"
            stored = _stored(connection)
        for walk in sorted(published.keys() | counted.keys()):
            if published[walk] != counted[walk]:
                yield f"walk {walk}: {published[walk]} published, {counted[walk]} counted"
        if +created != stored:
            yield f"pages counted as new: {created}, pages stored: {stored}"

    def _not_projected(self) -> Iterator[str]:
        """Compare the states that the sink shows with those of the log."""
        query = "SELECT subdomain, kind, revision, status, walk FROM pagestream.walk"
        with psycopg.connect(self._road.database) as connection:
            shown = {Table(s, k): tuple(rest) for s, k, *rest in connection.execute(query)}
        for table, state in self._road.watch.states.items():
            if (said := shown.get(table)) != (state.revision, state.status, state.walk):
                yield f"{table.key} is shown as {said}, but is {state}"

    def _replay(self) -> Iterator[str]:
        try:
            self._account.assert_replayed()
        except (AssertionError, LookupError, TypeError, ValueError) as error:
            yield f"a replay of the commands differs: {type(error).__name__}: {error}"

    def _ends(self) -> Iterator[str]:
        for worker in self._road.workers.values():
            aborted = {_ABORTED} if _LIBRARY in worker.log.read_bytes() else set[int]()
            if worker.ended.keys() - _EXPECTED_ENDS - aborted:
                yield f"{worker.name} ended with {dict(worker.ended)}"
            # The watchdog's 70 comes with a log line, a broken promise with a sentence.
            broken = f"{worker.name} ended with 70: pagestream: "
            yield from (words for words in worker.last_words if words.startswith(broken))


def _books_of(road: Road, table: Table) -> TableBooks:
    source, refused = road.source_rows(table.kind)
    return TableBooks(table, source, refused)


def _walk_of(record: Record) -> Walk | None:
    """Return the walk of a page or of a tombstone."""
    if record.value is None:
        site, kind = Table.parse_record_key(record.key or "")[0]
        return site, kind, int(record.headers[WALK_HEADER])
    message = decode(record.type_header, record.value)
    return (message.site, message.kind, message.walk) if isinstance(message, Page) else None


def _of_kind(found: oracle.Differences, kind: Kind) -> list[str]:
    """Return what differs of one table, or of the site itself."""
    lines = (
        *(*found.missing, *found.extra, *found.different),
        *(*found.documents, *found.dead_letters),
    )
    return [line for line in lines if line.startswith((kind, "municipality"))][: oracle.MOST_SHOWN]


def _stored(connection: psycopg.Connection) -> Counter[tuple[str, Kind]]:
    query = "SELECT subdomain, kind, count(*) FROM pagestream.meeting_page GROUP BY 1, 2"
    return Counter({(site, kind): count for site, kind, count in connection.execute(query)})
