"""Sites that cannot be reached, or whose bodies break off, lie about themselves or have no end."""

import codecs
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pytest
import trustme
from fault_bodies import (
    bomb,
    cut_gzip,
    half_in_chunks,
    half_of_declared,
    half_until_closed,
    of_100_megabytes,
)
from fault_source import (
    Act,
    Plot,
    first_text,
    giving,
    larger_than,
    listing,
    meanwhile,
    nth,
    page_of_html,
    pages,
    rewritten,
    sent_as,
)
from fix_faults import AGENDAS, ROWS, TRIES, FaultRig, failure_of
from fix_scripted_source import Scripted, answer, drip_body, drip_head, flood, hang, hang_up
from fix_source import SourceSite

MOST_MEMORY: Final = 250 << 20


@dataclass(frozen=True)
class Broken:
    """What comes instead of a response, and how a walk fails that gets nothing else."""

    act: Act
    reason: str
    says: str


BROKEN: Final = {
    "28-cut-at-once": Broken(giving(hang_up()), "broken_response", "broke the protocol"),
    "29-truncated-length": Broken(
        sent_as(half_of_declared), "broken_response", "broke the protocol"
    ),
    "29-truncated-close": Broken(sent_as(half_until_closed), "broken_response", "not JSON"),
    "29-truncated-chunks": Broken(sent_as(half_in_chunks), "broken_response", "broke the protocol"),
    "29-truncated-gzip": Broken(sent_as(cut_gzip), "broken_response", "gzip without its end"),
    "29-empty": Broken(giving(answer(b"")), "broken_response", "not JSON"),
    "29-html-200": Broken(page_of_html(200), "broken_response", "it is text/html, not JSON"),
    "29-json-no-rows": Broken(giving(answer("{}")), "broken_response", "rows or next is missing"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_body_that_breaks_off_is_tried_again_and_no_row_of_it_is_used(
    fault_rig: FaultRig, quiet_site: SourceSite, broken: Broken
) -> None:
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(nth(2), broken.act, times=1).trouble(nth(3), broken.act)
    fault_rig.begin_walk(table)
    state = fault_rig.fails(table)
    expected = quiet_site.rows("minutes")
    walked = fault_rig.walked(table)
    failed = failure_of(walked)
    assert (failed.reason, failed.attempt) == (broken.reason, TRIES - 1)
    assert broken.says in failed.error
    assert state.retries == TRIES
    assert walked.ids == [row["id"] for row in expected[: 2 * ROWS]]
    assert (walked.barriers, walked.letters, walked.tombstones) == ([], [], 0)

    plot.heal()
    fault_rig.retry(table)
    fault_rig.assert_whole(table, expected)
    assert [plot.count(nth(n)) for n in (1, 2, 3)] == [1, 2, TRIES + 1]


@pytest.mark.parametrize("act", [sent_as(half_until_closed), giving(answer("[]"))])
def test_a_listing_that_breaks_off_is_no_end(
    fault_rig: FaultRig, quiet_site: SourceSite, act: Act
) -> None:
    """Row 29-listing."""
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(listing, act)
    fault_rig.begin_walk(table)
    assert fault_rig.fails(table).listed == 0
    plot.heal()
    fault_rig.retry(table)
    fault_rig.assert_whole(table, quiet_site.rows("minutes"))


SLOW: Final = {
    "28-hang": (giving(hang()), {"source_read_timeout": 0.5}),
    "28-drip-head": (giving(drip_head(0.05)), {"source_deadline": 0.7}),
    "28-drip-body": (giving(drip_body(0.05)), {"source_deadline": 0.7}),
}


@pytest.mark.parametrize(("act", "limits"), SLOW.values(), ids=SLOW)
def test_who_drips_or_says_nothing_is_not_waited_for(
    fault_rig: FaultRig, quiet_site: SourceSite, act: Act, limits: dict[str, float]
) -> None:
    """The limits of one request hold; those of seconds are settings, and short here."""
    table, plot = fault_rig.plot(quiet_site)
    slow = meanwhile(lambda: fault_rig.place(table.site, apart=table.site, **limits))
    plot.trouble(nth(1), slow, times=1).trouble(nth(2), act)
    fault_rig.begin_walk(table)
    fault_rig.fails(table)
    failed = failure_of(fault_rig.walked(table))
    assert (failed.reason, failed.attempt) == ("timeout", TRIES - 1)
    assert plot.count(nth(2)) == TRIES
    plot.heal()
    fault_rig.place(table.site, apart=table.site)
    fault_rig.retry(table)
    fault_rig.assert_whole(table, quiet_site.rows("minutes"))


@pytest.fixture
def untrusted(scripted: Scripted) -> str:
    """Where somebody listens with a certificate of nobody's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("*.localhost").configure_cert(context)
    return scripted.start(answer("{}"), tls=context).source_url.replace("http:", "https:")


def test_who_cannot_be_trusted_is_told_nothing(
    fault_rig: FaultRig, quiet_site: SourceSite, untrusted: str
) -> None:
    """Row 28-tls."""
    place = {"source_url": untrusted, "source_connect": None}
    cannot_be_asked(fault_rig, quiet_site, place, {"tls"})


def test_who_refuses_connections_is_tried_again(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 28-refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = {"source_connect": f"127.0.0.1:{taken.getsockname()[1]}"}
        cannot_be_asked(fault_rig, quiet_site, place, {"unreachable"})


def test_a_host_that_does_not_exist_is_tried_again(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 28-no-such-host; where nobody can be asked for names, that ends in time as well."""
    place = {
        "source_url": "http://{subdomain}.civic.invalid",
        "source_connect": None,
        "source_deadline": 2,
    }
    cannot_be_asked(fault_rig, quiet_site, place, {"unreachable", "timeout"})


def cannot_be_asked(
    rig: FaultRig, site: SourceSite, place: Mapping[str, object], reasons: set[str]
) -> None:
    """Have a site move after its first response to where it cannot be asked, and back."""
    table, plot = rig.plot(site)
    moves = meanwhile(lambda: rig.place(table.site, **{"apart": table.site, **place}))
    plot.trouble(nth(1), moves, times=1)
    rig.begin_walk(table)
    rig.fails(table)
    walked = rig.walked(table)
    failed = failure_of(walked)
    assert failed.reason in reasons
    assert failed.attempt == TRIES - 1
    assert (len(walked.ids), len(plot.requests)) == (ROWS, 1)
    rig.place(table.site, apart=table.site)
    rig.retry(table)
    rig.assert_whole(table, site.rows("minutes"))


DEEP: Final = b"[" * 100_000 + b"]" * 100_000


@dataclass(frozen=True)
class Odd:
    """A body with something odd in its first row, and what becomes of that row's text."""

    act: Act
    text: Callable[[str], str] = str
    marked: bool = False


ODD: Final = {
    "29-bom": Odd(rewritten(lambda body: codecs.BOM_UTF8 + body)),
    "29-nan": Odd(rewritten(lambda body: body.replace(b'"rows": [{', b'"rows": [{"score": NaN, '))),
    "29-utf8": Odd(first_text(b'"caf\xe9"'), lambda _: "caf\ufffd", marked=True),
    "29-surrogate": Odd(first_text(rb'"a\ud800b"'), lambda _: "a\ufffdb", marked=True),
    "29-deep-unknown": Odd(first_text(b'"@", "tree": ' + DEEP), lambda _: "@"),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_is_odd_in_a_body_stays_within_its_row(
    fault_rig: FaultRig, quiet_site: SourceSite, odd: Odd
) -> None:
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(nth(2), odd.act)
    fault_rig.begin_walk(table)
    assert fault_rig.ends(table).retries == 0
    expected = quiet_site.rows("minutes")
    row = expected[ROWS]
    expected[ROWS] = {**row, "text": odd.text(row["text"])}
    walked = fault_rig.assert_whole(table, expected)
    marked = {page.id: page.sanitised for page in walked.pages if page.sanitised}
    assert marked == ({row["id"]: ("text",)} if odd.marked else {})


def test_a_text_that_is_nested_too_deeply_is_a_dead_letter(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 29-deep-text: the row is set aside with its bytes, and no other."""
    table, plot = fault_rig.plot(quiet_site)
    plot.trouble(nth(2), first_text(DEEP))
    fault_rig.begin_walk(table)
    state = fault_rig.ends(table)
    ids = [row["id"] for row in quiet_site.rows("minutes")]
    walked = fault_rig.walked(table)
    (letter,) = walked.letters
    assert (letter.page_id, letter.reason) == (ids[ROWS], "wrong_type")
    assert DEEP[:100] in letter.original
    assert walked.ids == [page_id for page_id in ids if page_id != ids[ROWS]]
    assert (state.pages, state.rejected, walked.listed) == (len(ids) - 1, 1, ids)


def test_a_gzip_bomb_is_cut_and_fewer_rows_are_asked_for(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 30-gzip-bomb."""
    table, plot = fault_rig.plot(quiet_site, "agenda")
    plot.trouble(larger_than(6), sent_as(bomb))
    fault_rig.begin_walk(table, rows=AGENDAS)
    state = fault_rig.ends(table)
    assert (state.attempt, state.size) == (0, 6)
    fault_rig.assert_whole(table, quiet_site.rows("agendas"))
    assert sizes(plot) == [12, 6, 6]
    assert fault_rig.most_memory <= MOST_MEMORY


def test_one_page_of_100_megabytes_is_a_dead_letter_and_is_walked_past(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 30-100-megabytes: known by its id alone, which a small request gives."""
    table, plot = fault_rig.plot(quiet_site, "agenda")
    plot.trouble(nth(2), sent_as(of_100_megabytes))
    fault_rig.begin_walk(table, rows=3)
    state = fault_rig.ends(table)
    ids = [row["id"] for row in quiet_site.rows("agendas")]
    walked = fault_rig.walked(table)
    (letter,) = walked.letters
    assert (letter.page_id, letter.reason) == (ids[3], "too_large")
    assert walked.ids == [page_id for page_id in ids if page_id != ids[3]]
    assert (state.rejected, state.attempt, walked.listed) == (1, 0, ids)
    assert sizes(plot)[:4] == [3, 3, 1, 1]
    assert fault_rig.most_memory <= MOST_MEMORY


def test_a_body_without_end_is_cut_and_fails_its_walk(
    fault_rig: FaultRig, quiet_site: SourceSite
) -> None:
    """Row 30-endless: even the ids of one row do not come."""
    table, plot = fault_rig.plot(quiet_site, "agenda")
    plot.trouble(lambda request: request.response == 2, giving(flood()))
    fault_rig.begin_walk(table, rows=6)
    state = fault_rig.fails(table)
    walked = fault_rig.walked(table)
    failed = failure_of(walked)
    assert (failed.reason, failed.attempt, state.size) == ("too_large", TRIES - 1, 1)
    assert (len(walked.ids), walked.letters) == (6, [])
    assert [len(failed.received or ""), fault_rig.most_memory <= MOST_MEMORY] == [200, True]
    plot.heal()
    fault_rig.retry(table)
    fault_rig.assert_whole(table, quiet_site.rows("agendas"))


def sizes(plot: Plot) -> list[int]:
    """Return how many pages each request asked for."""
    return [int(r.asked.query["_size"]) for r in plot.requests if pages(r)]
