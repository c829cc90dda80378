"""What names a table: the doors through which a name must come before it is part of an address."""

from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.tables import KINDS, Table, is_site

ATTACKS: Final = [
    "evil.com/#",
    "evil.com/",
    "evil.com#",
    "evil.com?",
    "evil.com\\",
    "x@evil.com",
    "x:y@evil.com",
    "evil.com:80",
    "169.254.169.254/latest/#",
    "[::1]",
    "..",
    "../alameda.ca",
    "Alameda.ca",
    "ALAMEDA.CA",
    "alameda.ca.",
    ".alameda.ca",
    "alameda..ca",
    "-alameda.ca",
    "alameda-.ca",
    "alameda.-ca",
    "",
    ".",
    " ",
    " alameda.ca",
    "alameda.ca ",
    "alameda.ca\n",
    "alameda.ca\r\nHost: evil.com",
    "alameda\0.ca",
    "alameda.ca\u2028",
    "münchen.de",
    "alameda\u3002ca",
    "\uff41lameda.ca",
    "alameda.c\u0430",
    "\u00b2.ca",
    "\u0661.ca",
    "alameda_city.ca",
    "alameda%2eca",
    "*.ca",
    "{subdomain}",
    "a" * 64,
    "a" * 300,
    ".".join(["a" * 60] * 4),
]
SITES: Final = [
    "alameda.ca",
    "a",
    "0",
    "new-york.ny",
    "x1.y2.z3",
    "xn--mnchen-3ya.de",
    "169.254.169.254",
    "a" * 63,
    ".".join(["a" * 49] * 4),
]

sites = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?(\.[a-z0-9]{1,20}){0,3}", fullmatch=True)
kinds = st.sampled_from(KINDS)


@pytest.mark.parametrize("name", ATTACKS, ids=ascii)
def test_what_could_leave_the_base_domain_is_no_site(name: str) -> None:
    assert not is_site(name)


@pytest.mark.parametrize("name", SITES)
def test_a_host_name_relative_to_the_base_domain_is_a_site(name: str) -> None:
    assert is_site(name)


@given(st.text() | st.text("a1.-_/@#:%\n", max_size=12) | sites)
@example("alameda.ca\n")
def test_whatever_is_a_site_stays_below_its_base_domain(name: str) -> None:
    if not is_site(name):
        return
    parts = urlsplit(f"https://{name}.civic.band/meetings")
    assert (parts.hostname, parts.netloc, parts.path) == (
        f"{name}.civic.band",
        f"{name}.civic.band",
        "/meetings",
    )
    assert parts.port is None
    assert len(parts.netloc) <= 253
    assert all(1 <= len(label) <= 63 for label in name.split("."))


@given(sites, kinds)
def test_a_tables_key_names_it(site: str, kind: Any) -> None:
    assert Table.parse(Table(site, kind).key) == Table(site, kind)


@given(st.text() | st.text("a./#", max_size=8).map(lambda site: f"{site}/minutes"))
def test_what_names_no_table_is_refused(key: str) -> None:
    try:
        table = Table.parse(key)
    except ValueError:
        return
    assert table.key == key
    assert is_site(table.site)
    assert table.kind in KINDS


@pytest.mark.parametrize(
    "key",
    [
        "alameda.ca",
        "alameda.ca/",
        "/minutes",
        "alameda.ca/votes",
        "alameda.ca/Minutes",
        "alameda.ca/minutes/",
        "alameda.ca/minutes\n",
        "alameda.ca/x/minutes",
        "evil.com/#/minutes",
        "alameda.ca/minutes#barrier",
        "",
    ],
)
def test_a_key_that_is_not_quite_a_tables_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="names no table"):
        Table.parse(key)


@given(sites, kinds, st.text(min_size=1))
@example("alameda.ca", "minutes", "a/b/c")
@example("alameda.ca", "minutes", "#barrier")
@example("alameda.ca", "minutes", "/")
@example("alameda.ca", "minutes", "minutes/0f1e")
@example("alameda.ca", "minutes", "\n")
def test_a_record_key_gives_table_and_identity_back(site: str, kind: Any, identity: str) -> None:
    table = Table(site, kind)
    assert Table.parse_record_key(table.record_key(identity)) == (table, identity)


@given(sites, kinds, st.text(min_size=1))
def test_a_page_never_has_the_key_of_a_barrier_or_a_removal(
    site: str, kind: Any, identity: str
) -> None:
    table = Table(site, kind)
    assert table.record_key(identity) not in {table.barrier_key, table.removal_key}


@pytest.mark.parametrize(
    "key",
    [
        "",
        "alameda.ca",
        "alameda.ca/minutes",
        "alameda.ca/minutes/",
        "alameda.ca/minutes#barrier",
        "alameda.ca/minutes#removed",
        "alameda.ca/votes/0f1e",
        "evil.com#/minutes/0f1e",
        "Alameda.ca/minutes/0f1e",
        "//0f1e",
    ],
)
def test_what_is_no_record_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"is not site/kind/identity|names no table"):
        Table.parse_record_key(key)
