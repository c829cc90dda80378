"""Applying batches to a real database: what each record becomes, and what it leaves untouched."""

import re
from datetime import date

import psycopg
import pytest
from fix_sink import DirectSink
from samples import SITE, gone, now, page

from consumers.identities import document_id, municipality_id
from consumers.projections import pages
from consumers.queries import load
from consumers.sink.positions import PositionMoved
from schemas.records import Municipality, SiteRemoved, WalkBarrier
from schemas.tables import Table
from schemas.walks import Position, WalkState


def test_a_page_is_stored_as_read(direct_sink: DirectSink) -> None:
    given = page("a1", entities='{"b": 1, "a": 0.10}', votes="[]", sanitised=("text", "votes"))

    direct_sink.apply(given)

    stored = direct_sink.one("SELECT * FROM pagestream.meeting_page")
    for name in ("id", "kind", "text", "page_image", "entities", "votes", "row_hash"):
        assert stored[name] == getattr(given, name)
    assert stored["subdomain"] == given.site
    assert stored["page_number"] == given.page
    assert stored["meeting_name"] == given.meeting
    assert stored["meeting_date_text"] == given.date
    assert stored["meeting_date"] == date(2024, 2, 29)
    assert stored["sanitised"] == ["text", "votes"]
    assert stored["municipality_id"] == municipality_id(SITE)
    assert stored["document_id"] == document_id(SITE, "minutes", given.meeting, given.date)


@pytest.mark.parametrize("text", ["", "\\N", "\\.", "a\tb\nc\rd\\e", "x" * 500_000, "🗳" * 3000])
def test_any_text_survives(direct_sink: DirectSink, text: str) -> None:
    given = page("a", text=text, meeting=text[:50], page_image=None)

    direct_sink.apply(given)

    stored = direct_sink.one("SELECT * FROM pagestream.meeting_page")
    assert stored["text"] == text
    assert stored["meeting_name"] == text[:50]
    assert stored["page_image"] is None
    assert not direct_sink.rows("SELECT * FROM pagestream.dead_letter")


def test_the_database_gives_the_same_hash(direct_sink: DirectSink) -> None:
    direct_sink.apply(
        page("a"),
        page("b", meeting=None, date=None, text="", page_image=None, entities="{}"),
        page("ć", date="today", text="zwei\x1funits", votes=""),
    )

    rehashed = direct_sink.rows(
        r"""
        SELECT id, row_hash,
               ('x' || left(encode(sha256(convert_to(concat_ws(E'\x1f',
                   id, coalesce(meeting_name, E'\x1e'), coalesce(meeting_date_text, E'\x1e'),
                   page_number, coalesce(text, E'\x1e'), coalesce(page_image, E'\x1e'),
                   coalesce(entities, E'\x1e'), coalesce(votes, E'\x1e')
               ), 'UTF8')), 'hex'), 16))::bit(64)::bigint AS again
        FROM pagestream.meeting_page
        """
    )

    assert len(rehashed) == 3
    assert [row["row_hash"] for row in rehashed] == [row["again"] for row in rehashed]


def test_ids_are_the_hashes_that_anyone_can_compute(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a", meeting=None))

    stored = direct_sink.one("SELECT * FROM pagestream.meeting_document")
    computed = direct_sink.one(
        """
        SELECT ('x' || left(encode(sha256(convert_to('["alameda.ca"]', 'UTF8')), 'hex'), 16))
                   ::bit(64)::bigint AS municipality,
               ('x' || left(encode(sha256(convert_to(
                   '["alameda.ca","minutes",null,"2024-02-29"]', 'UTF8')), 'hex'), 16))
                   ::bit(64)::bigint AS document
        """
    )
    assert (stored["municipality_id"], stored["id"]) == (
        computed["municipality"],
        computed["document"],
    )


def test_figures_count_every_record_while_the_last_one_wins(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a"), page("b"), page("c"))

    direct_sink.apply(
        page("a", walk=2),  # unchanged
        page("b", walk=2, text="edited"),  # updated
        page("b", walk=2, text="edited twice"),  # updated
        page("d", walk=2),  # created
        page("d", walk=2),  # unchanged
        gone("c", walk=2),  # deleted
        gone("never", walk=2),  # unchanged
        gone("d", walk=2),  # deleted
        page("d", walk=2, text="back"),  # created
    )

    assert direct_sink.figures() == {
        1: {"created": 3},
        2: {"created": 2, "updated": 2, "unchanged": 3, "deleted": 2},
    }
    texts = direct_sink.rows("SELECT id, text FROM pagestream.meeting_page ORDER BY id")
    assert [row["id"] for row in texts] == ["a", "b", "d"]
    assert [row["text"] for row in texts[1:]] == ["edited twice", "back"]


def test_applying_everything_again_writes_no_row(direct_sink: DirectSink) -> None:
    records = direct_sink.apply(
        Municipality(site=SITE, name="Alameda", pages=3),
        *(page(f"{number:03}", text=str(number) * 900) for number in range(300)),
        page("a", text="first"),
        gone("000"),
        WalkBarrier(site=SITE, kind="minutes", number=1, walk=1, at=now()),
        WalkState(site=SITE, kind="minutes", revision=7, updated_at=now()),
    )
    before, figures = direct_sink.fingerprint(), direct_sink.figures()
    beside = "SELECT xmin::text, * FROM pagestream_log.{}"
    walks = [direct_sink.rows(beside.format(name)) for name in ("walk", "walk_barrier")]

    direct_sink.reset()
    direct_sink.applier.apply(direct_sink.connection, direct_sink.batch(records))

    assert direct_sink.fingerprint() == before
    assert direct_sink.figures() == figures
    assert walks == [direct_sink.rows(beside.format(name)) for name in ("walk", "walk_barrier")]


def test_a_cleared_hash_is_written_again(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a"), page("b"))
    direct_sink.do(
        "UPDATE pagestream_1.meeting_page SET row_hash = NULL, text = 'x' WHERE id = 'a'"
    )

    direct_sink.apply(page("a", walk=2), page("b", walk=2))

    stored = direct_sink.one("SELECT * FROM pagestream.meeting_page WHERE id = 'a'")
    assert (stored["text"], stored["row_hash"]) == (page("a").text, page("a").row_hash)
    assert direct_sink.figures()[2] == {"updated": 1, "unchanged": 1}


def test_a_deletion_takes_the_empty_document_along(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a"), page("b"), page("c", meeting="Planning"))

    direct_sink.apply(gone("a"), gone("c"))

    assert direct_sink.ids() == ["b"]
    documents = direct_sink.rows("SELECT meeting_name FROM pagestream.meeting_document")
    assert [row["meeting_name"] for row in documents] == ["CityCouncil"]


def test_a_page_that_moves_leaves_no_empty_document(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a", date="2024-01-01"))

    direct_sink.apply(page("a", date="2024-01-02"))

    documents = direct_sink.rows("SELECT meeting_date_text FROM pagestream.meeting_document")
    assert [row["meeting_date_text"] for row in documents] == ["2024-01-02"]


def test_the_same_id_on_two_sites_and_two_kinds_is_stored_each_time(
    direct_sink: DirectSink,
) -> None:
    direct_sink.apply(
        page("a"), page("a", site="berkeley.ca"), page("a", kind="agenda"), page("a", text="last")
    )

    stored = direct_sink.rows("SELECT subdomain, kind FROM pagestream.meeting_page")
    assert len(stored) == 3
    assert len({(row["subdomain"], row["kind"]) for row in stored}) == 3


def test_two_rows_in_a_slot_are_both_stored(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a", page=3), page("b", page=3))

    assert direct_sink.ids() == ["a", "b"]
    assert len(direct_sink.rows("SELECT * FROM pagestream.meeting_document")) == 1


def test_documents_without_name_or_date_are_unique(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a", meeting=None, date=None), page("b", meeting=None, date=None))
    direct_sink.apply(page("c", meeting=None, date=None), page("d", meeting="", date=None))

    documents = direct_sink.rows("SELECT * FROM pagestream.meeting_document")
    assert sorted(row["meeting_name"] or "NULL" for row in documents) == ["NULL", "NULL"]
    assert len(documents) == 2
    with pytest.raises(psycopg.errors.UniqueViolation):
        direct_sink.do(
            "INSERT INTO pagestream_1.meeting_document (id, municipality_id, kind)"
            " SELECT 1, id, 'minutes' FROM pagestream_1.municipality"
        )


@pytest.mark.parametrize("text", ["today", "2024-02-30", "", "20240229", "2024-W09-4", None])
def test_a_date_that_is_none_is_null_beside_its_text(
    direct_sink: DirectSink, text: str | None
) -> None:
    direct_sink.apply(page("a", date=text))

    stored = direct_sink.one("SELECT * FROM pagestream.meeting_page")
    assert (stored["meeting_date_text"], stored["meeting_date"]) == (text, None)


def test_a_removed_table_loses_its_rows_and_can_begin_anew(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a"), page("b"), page("a", kind="agenda"), page("a", site="b.ca"))

    direct_sink.apply(
        page("c", walk=2),
        SiteRemoved(site=SITE, kind="minutes", at=now()),
        page("a", walk=3),
    )

    stored = direct_sink.rows(
        "SELECT subdomain, kind, id FROM pagestream.meeting_page ORDER BY 1, 2, 3"
    )
    assert [tuple(row.values()) for row in stored] == [
        (SITE, "agenda", "a"),
        (SITE, "minutes", "a"),
        ("b.ca", "minutes", "a"),
    ]
    assert direct_sink.figures()[3] == {"created": 1}
    assert len(direct_sink.rows("SELECT * FROM pagestream.meeting_document")) == 3


def test_a_municipality_fills_its_placeholder(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a"))
    assert direct_sink.one("SELECT * FROM pagestream.municipality")["placeholder"]

    direct_sink.apply(
        Municipality(site=SITE, name="Alameda", state="CA", latitude=37.77, popup_data="{}"),
        Municipality(site="albany.ca", removed=True),
    )

    stored = direct_sink.rows("SELECT * FROM pagestream.municipality ORDER BY subdomain")
    assert [row["subdomain"] for row in stored] == [SITE, "albany.ca"]
    assert (stored[0]["name"], stored[0]["latitude"]) == ("Alameda", 37.77)
    assert not any(row["placeholder"] for row in stored)
    assert [row["removed"] for row in stored] == [False, True]


def test_the_newest_state_and_barrier_of_each_table_are_kept(direct_sink: DirectSink) -> None:
    at = now()
    barriers = [
        WalkBarrier(site=SITE, kind="minutes", number=number, walk=1, at=at) for number in (4, 5)
    ]
    step = Position(phase="pages", cursor="c,1", after="a")
    states = [
        WalkState(site=SITE, kind="minutes", revision=1, updated_at=at),
        WalkState(site=SITE, kind="minutes", revision=2, status="in_progress", position=step),
    ]
    records = direct_sink.apply(*barriers, *states)
    direct_sink.reset()
    direct_sink.applier.apply(direct_sink.connection, direct_sink.batch([records[0], records[2]]))

    barrier = direct_sink.one("SELECT * FROM pagestream.walk_barrier")
    assert (barrier["number"], barrier["walk"], barrier["at"]) == (5, 1, at)
    state = direct_sink.one("SELECT * FROM pagestream.walk")
    assert (state["revision"], state["status"]) == (2, "in_progress")
    assert (state["phase"], state["cursor"], state["after"]) == ("pages", "c,1", "a")


def test_a_second_sink_on_the_same_partition_changes_nothing(direct_sink: DirectSink) -> None:
    zombie = direct_sink.batch(direct_sink.records(page("a", text="of the zombie"), page("z")))
    direct_sink.forget_offsets()
    direct_sink.apply(page("a", text="of the owner"))
    before, figures = direct_sink.fingerprint(), direct_sink.figures()

    with pytest.raises(PositionMoved):
        direct_sink.applier.apply(direct_sink.connection, zombie)

    assert direct_sink.fingerprint() == before
    assert direct_sink.figures() == figures
    assert direct_sink.ids() == ["a"]


def test_without_the_compare_and_swap_the_zombie_would_have_won(
    direct_sink: DirectSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    zombie = direct_sink.batch(direct_sink.records(page("a", text="of the zombie"), page("z")))
    direct_sink.forget_offsets()
    direct_sink.apply(page("a", text="of the owner"))

    monkeypatch.setattr("consumers.sink.positions.move", lambda *_: None)
    direct_sink.applier.apply(direct_sink.connection, zombie)

    stored = direct_sink.rows("SELECT text FROM pagestream.meeting_page ORDER BY id")
    assert stored[0]["text"] == "of the zombie"
    assert direct_sink.figures() == {1: {"created": 2, "updated": 1}}


def test_positions_move_over_exactly_the_batch(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a"), page("b"), page("c", kind="agenda"))
    direct_sink.apply(page("d"))

    found = direct_sink.rows("SELECT * FROM pagestream_1.sink_position ORDER BY next_offset")
    assert [(row["partition"], row["next_offset"], row["applied_to"]) for row in found] == [
        (Table(SITE, "agenda").partition, 1, 1),
        (Table(SITE, "minutes").partition, 3, 3),
    ]
    assert {(row["cluster_id"], row["topic_id"]) for row in found} == {("cluster", "pages")}


def test_asking_for_hashes_reads_the_keys_alone(direct_sink: DirectSink) -> None:
    direct_sink.apply(*(page(f"{number:04}") for number in range(500)))
    direct_sink.do("VACUUM ANALYZE pagestream_1.meeting_page")
    query = load(str(pages.__file__))["stored_hashes"]
    given = {
        "municipalities": [municipality_id(SITE)],
        "kinds": ["minutes"],
        "firsts": [1],
        "lasts": [2],
        "ids": ["0001", "0400"],
    }

    explained = direct_sink.connection.execute(f"EXPLAIN {query}", given).fetchall()

    plan = " ".join(line for (line,) in explained)
    assert "Index Only Scan using meeting_page_pkey" in plan
    assert re.search(r"Index Cond: .* AND \(id = ANY", plan)
    found = direct_sink.connection.execute(query, given).fetchall()
    assert found == [(1, page_id, page(page_id).row_hash) for page_id in ("0001", "0400")]
