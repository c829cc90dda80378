"""Records at fault: each is set aside with its reason and bytes, and nothing else suffers."""

import hashlib
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from fix_sink import DirectSink
from samples import SITE, dead_letter, page, sent

from consumers.dead_letters import MOST_ORIGINAL_BYTES, DeadLetterPolicy
from consumers.registry import CONSUMERS
from runtime.errors import ConfigurationError, DatabaseUnavailable, InternalError
from runtime.kafka.records import outgoing
from schemas.records import Municipality
from schemas.tables import Table
from schemas.topics import DEAD_LETTERS, PAGES
from schemas.walks import WalkState

UNSTORABLE = [
    page("bad", text="nul \0 inside"),
    page("bad", meeting="nul \0 inside"),
    page("bad\0id"),
    page("bad", page=2**40),
    page("bad", row_hash=2**63),
    page("bad", hash_version=2**15),
]


def letters(direct_sink: DirectSink) -> list[dict[str, Any]]:
    return direct_sink.rows("SELECT * FROM pagestream.dead_letter ORDER BY number")


@pytest.mark.parametrize("bad", UNSTORABLE, ids=range(len(UNSTORABLE)))
def test_only_the_page_at_fault_is_set_aside(direct_sink: DirectSink, bad: Any) -> None:
    good = [page(f"{number:02}", page=number) for number in range(20)]

    records = direct_sink.apply(*good[:13], bad, *good[13:])

    assert direct_sink.ids() == [each.id for each in good]
    (letter,) = letters(direct_sink)
    assert letter["reason"] == "unstorable"
    assert letter["found_by"] == "sink"
    assert letter["page_id"] == bad.id.replace("\0", "\ufffd")
    assert (letter["subdomain"], letter["kind"], letter["walk"]) == (SITE, "minutes", 1)
    assert letter["original"] == records[13].value
    assert letter["original_digest"] == hashlib.sha256(records[13].value or b"").hexdigest()
    assert (letter["topic"], letter["record_offset"]) == ("pages", 13)
    assert letter["headers"] == {"type": "Page/1"}
    assert direct_sink.figures() == {1: {"created": 20, "dead_lettered": 1}}
    assert direct_sink.one("SELECT next_offset FROM pagestream_1.sink_position") == {
        "next_offset": 21
    }


def test_a_text_too_long_for_an_index_is_stored_all_the_same(direct_sink: DirectSink) -> None:
    long = "".join(chr(0x4E00 + number) for number in range(20_000))
    direct_sink.apply(page("a", meeting=long), page("b", date=long))
    assert direct_sink.ids() == ["a", "b"]
    assert letters(direct_sink) == []


def test_several_at_fault_are_each_set_aside_and_the_rest_is_in_order(
    direct_sink: DirectSink,
) -> None:
    direct_sink.apply(
        page("a", text="1"),
        page("b", text="\0"),
        page("a", text="2"),
        page("c", text="\0"),
        page("d", kind="agenda"),
        page("a", text="3"),
        Municipality(site=SITE, name="Alameda\0"),
        page("e", text="\0"),
    )

    assert [row["page_id"] for row in letters(direct_sink)] == ["b", "c", None, "e"]
    text = direct_sink.one("SELECT text FROM pagestream.meeting_page WHERE id = 'a'")["text"]
    assert text == "3"
    assert direct_sink.figures() == {1: {"created": 2, "updated": 2, "dead_lettered": 3}}


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"value": b"{"}, "undecodable", "not a Page/1"),
        ({"value": None}, "undecodable", "without a value"),
        ({"headers": {}}, "undecodable", "no 'type' header"),
        ({"headers": {"type": b"Pamphlet"}}, "undecodable", "Pamphlet"),
        ({"headers": {"type": b"WalkState/1"}, "value": b"{}"}, "undecodable", "WalkState"),
        ({"key": f"{SITE}/minutes/other"}, "undecodable", "belongs"),
        ({"key": None}, "undecodable", "belongs"),
        ({"partition": 0}, "wrong_partition", "in partition 0"),
        ({"value": b'{"site":"Evil/","kind":"minutes"}'}, "undecodable", "missing"),
    ],
)
def test_what_cannot_be_read_is_set_aside(
    direct_sink: DirectSink, change: dict[str, Any], reason: str, words: str
) -> None:
    bad = msgspec.structs.replace(sent(page("bad")), **change)

    direct_sink.apply(page("a"), bad, page("b"))

    assert direct_sink.ids() == ["a", "b"]
    (letter,) = letters(direct_sink)
    assert (letter["reason"], letter["original"]) == (reason, bad.value or b"")
    assert words in letter["message"]
    named = bad.key is not None
    assert letter["identity"] == (
        bad.key.rpartition("/")[2] if named else letter["original_digest"]  # type: ignore[union-attr]
    )
    assert direct_sink.figures().get(0) == ({"dead_lettered": 1} if named else None)


def test_walking_over_it_again_makes_no_second_one(direct_sink: DirectSink) -> None:
    first = direct_sink.record(sent(page("bad", text="\0")), timestamp=1_000)
    again = direct_sink.record(sent(page("bad", text="\0", walk=2)), timestamp=2_000)
    direct_sink.applier.apply(direct_sink.connection, direct_sink.batch([first]))
    direct_sink.applier.apply(direct_sink.connection, direct_sink.batch([again]))

    (letter,) = letters(direct_sink)
    assert (letter["times_seen"], letter["walk"], letter["record_offset"]) == (2, 2, 1)
    assert letter["first_seen"] < letter["last_seen"]

    direct_sink.reset()
    direct_sink.applier.apply(direct_sink.connection, direct_sink.batch([first, again]))

    assert letters(direct_sink) == [letter]
    assert direct_sink.figures() == {1: {"dead_lettered": 1}, 2: {"dead_lettered": 1}}


def test_a_long_original_is_cut_and_its_whole_is_told(direct_sink: DirectSink) -> None:
    (record,) = direct_sink.apply(page("bad", text="\0" + "x" * (MOST_ORIGINAL_BYTES + 1)))

    (letter,) = letters(direct_sink)
    assert record.value is not None
    assert letter["original"] == record.value[:MOST_ORIGINAL_BYTES]
    assert letter["original_length"] == len(record.value)


def test_the_walkers_dead_letters_are_projected_and_the_sinks_own_are_not(
    direct_sink: DirectSink,
) -> None:
    found = dead_letter(walk=3, step=4)
    table = Table(SITE, "minutes")
    direct_sink.apply(
        *(
            outgoing(DEAD_LETTERS, table.record_key(each.identity), table.partition, each)
            for each in (found, dead_letter("other", walk=3, step=4, found_by="sink"))
        )
    )

    (stored,) = letters(direct_sink)
    assert (stored["identity"], stored["found_by"], stored["walk"]) == ("digest", "walker", 3)
    assert (stored["first_seen"], stored["original"]) == (found.at, found.original)
    assert direct_sink.figures() == {}


def test_a_flood_stops_the_sink_and_is_undone(direct_sink: DirectSink) -> None:
    policy = DeadLetterPolicy(most=2, within=timedelta(minutes=1))
    limited = tuple(msgspec.structs.replace(consumer, policy=policy) for consumer in CONSUMERS)
    applier = direct_sink.applier_with(limited)
    bad = [sent(page(f"bad{number}", walk=-1)) for number in range(3)]
    applier.apply(direct_sink.connection, direct_sink.batch(direct_sink.records(*bad[:2])))

    with pytest.raises(ConfigurationError, match="more than 2 records of pages"):
        applier.apply(direct_sink.connection, direct_sink.batch(direct_sink.records(bad[2])))

    assert len(letters(direct_sink)) == 2
    assert direct_sink.figures() == {0: {"dead_lettered": 2}}


def test_a_full_disk_sets_nothing_aside(
    direct_sink: DirectSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise psycopg.errors.DiskFull

    monkeypatch.setattr("consumers.projections.pages._copy", full)
    with pytest.raises(DatabaseUnavailable):
        direct_sink.apply(page("a"))

    assert not letters(direct_sink)
    assert not direct_sink.rows("SELECT * FROM pagestream_1.sink_position")


def test_a_dead_letter_that_cannot_be_stored_is_our_own_fault(
    direct_sink: DirectSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise psycopg.DataError

    monkeypatch.setattr("consumers.dead_letters.store", refuse)
    with pytest.raises(InternalError, match="dead letter"):
        direct_sink.apply(page("a"), page("bad", text="\0"))


def test_a_document_removed_under_our_feet_is_tried_again(direct_sink: DirectSink) -> None:
    direct_sink.apply(page("a"))
    batch = direct_sink.batch(direct_sink.records(page("b")))
    direct_sink.do(
        "CREATE FUNCTION vanish() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER vanish BEFORE INSERT ON pagestream_1.meeting_document"
        " FOR EACH ROW EXECUTE FUNCTION vanish();"
    )
    direct_sink.do("DELETE FROM pagestream_1.meeting_page")
    direct_sink.do("DELETE FROM pagestream_1.meeting_document")

    with pytest.raises(DatabaseUnavailable, match="23503"):
        direct_sink.applier.apply(direct_sink.connection, batch)

    direct_sink.do("DROP FUNCTION vanish CASCADE")
    direct_sink.applier.apply(direct_sink.connection, batch)
    assert direct_sink.ids() == ["b"]
    assert not letters(direct_sink)


def test_a_state_at_fault_is_set_aside_under_its_digest(direct_sink: DirectSink) -> None:
    state = WalkState(site=SITE, kind="minutes", revision=1, rows=2**31)

    direct_sink.apply(state, page("a"))

    (letter,) = letters(direct_sink)
    assert (letter["subdomain"], letter["kind"], letter["page_id"]) == (SITE, "minutes", None)
    assert letter["identity"] == letter["original_digest"]
    assert direct_sink.ids() == ["a"]
    assert PAGES.name != letter["topic"]
