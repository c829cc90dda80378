"""The walks in SQL: the newest state of each table, and every walk with its figures."""

from datetime import datetime, timedelta
from typing import Any, Final

from fix_sink import DirectSink
from msgspec.structs import replace
from samples import SITE, gone, now, page

from schemas.records import SiteRemoved
from schemas.walks import FollowUp, Position, Schedule, WaitingRepair, WalkState

AT: Final = now()
JOBS: Final = "SELECT * FROM pagestream.walk_job ORDER BY kind, walk"


def state(revision: int, status: Any = "in_progress", walk: int = 1, **fields: Any) -> WalkState:
    return WalkState(
        site=SITE, kind="minutes", revision=revision, status=status, walk=walk, **fields
    )


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_all_of_a_state_that_matters_is_there(direct_sink: DirectSink) -> None:
    repair = WaitingRepair(
        action="prune", command_id="c", sent_by="me", sent_at=AT, round=1, ids=("a", "b")
    )
    direct_sink.apply(
        state(
            7,
            mode="incremental",
            window=("2025-11-05", "2026-10-31"),
            size=250,
            position=Position(phase="listing", cursor="c\0", after="a", listed_by="paging"),
            repairs=(repair, repair),
            attempt=2,
            retry_at=later(2),
            retries=3,
            expected=10,
            stored=9,
            verified_at=later(-9),
            follow_up=FollowUp(mode="auto", rows=500),
            next_walk_at=later(60),
            next_walk_mode="verify",
            schedule=Schedule(verify_every=60.0),
            full_forced_after=0,
            full_verified=True,
            secret="own",  # noqa: S106 - its name
            error="a NUL: \0",
        )
    )

    found = direct_sink.one("SELECT * FROM pagestream.walk")
    expected = {
        "window_from": "2025-11-05", "window_to": "2026-10-31", "size": 250, "phase": "listing",
        "cursor": "c\ufffd", "listed_by": "paging", "repairs": 2, "attempt": 2,
        "retry_at": later(2), "retries": 3, "expected": 10, "stored": 9, "verified_at": later(-9),
        "follow_up": "auto", "follow_up_rows": 500, "next_walk_at": later(60),
        "next_walk_mode": "verify", "own_schedule": True, "full_every": None, "verify_every": 60.0,
        "full_forced": True, "full_verified": True, "secret_name": "own", "error": "a NUL: \ufffd",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_a_table_without_a_schedule_has_that_of_the_settings(direct_sink: DirectSink) -> None:
    direct_sink.apply(state(1))
    found = direct_sink.one("SELECT own_schedule, full_every, full_forced FROM pagestream.walk")
    assert found == {"own_schedule": False, "full_every": None, "full_forced": False}


def test_every_walk_stays_with_its_figures(direct_sink: DirectSink) -> None:
    first = state(5, "completed", pages=2, rejected=1, verdict="balanced", verified_at=later(5))
    direct_sink.apply(page("a"), page("b"), state(3, pages=1), first)
    second = state(6, walk=2, verified_at=later(5))
    direct_sink.apply(
        page("a", walk=2, text="edited"),
        gone("b", walk=2),
        second,
        replace(second, revision=8, status="failed", pages=1, retries=3, last_error="it was 500"),
    )

    jobs = direct_sink.rows(JOBS)
    names = ("walk", "status", "fetched", "created", "updated", "deleted", "errors", "verified_at")
    assert [tuple(job[name] for name in names) for job in jobs] == [
        (1, "completed", 2, 2, 0, 0, 1, later(5)),
        (2, "failed", 1, 0, 1, 1, 0, None),
    ]
    assert (jobs[1]["retries"], jobs[1]["last_error"]) == (3, "it was 500")


def test_an_older_state_changes_no_walk(direct_sink: DirectSink) -> None:
    records = direct_sink.apply(state(2), state(3, "unverified", steps=4), state(4, walk=2))
    before = direct_sink.rows(JOBS)
    direct_sink.reset()
    direct_sink.applier.apply(direct_sink.connection, direct_sink.batch(records[:1]))
    assert direct_sink.rows(JOBS) == before


def test_a_removal_ends_the_walk_under_way_and_no_other(direct_sink: DirectSink) -> None:
    direct_sink.apply(
        page("a"),
        state(2, "unverified", ended_at=AT),
        state(3, walk=2),
        state(4, "removed", walk=2, updated_at=later(1)),
        SiteRemoved(site=SITE, kind="minutes", walk=2, at=AT),
        state(5, "pending", walk=2),
    )

    jobs = direct_sink.rows(JOBS)
    assert [(job["status"], job["ended_at"]) for job in jobs] == [
        ("unverified", AT),
        ("removed", later(1)),
    ]
    assert [job["deleted"] for job in jobs] == [0, 1]
    assert direct_sink.one("SELECT status FROM pagestream.walk") == {"status": "pending"}


def test_what_ended_before_the_removal_stays_as_it_ended(direct_sink: DirectSink) -> None:
    direct_sink.apply(state(2, "failed", ended_at=AT), state(3, "removed"))
    assert [job["status"] for job in direct_sink.rows(JOBS)] == ["failed"]
