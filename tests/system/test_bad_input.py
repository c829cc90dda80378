"""What becomes of bad rows, all the way from a real Datasette into the database.

Fault 32-bad-rows.
"""

from typing import Final

from fix_source import UNTYPED, Row, SourceFarm, SourceSite, Version, make_pages
from fix_terminal import CommandLine, settings_for
from oracle import compare

GOOD: Final = make_pages("minutes", 60)
STORED: Final[dict[str, Row]] = {
    "page-as-text": {"page": "3"},
    "date-today": {"page": 1, "date": "today"},
    "date-no-day": {"page": 1, "date": "2024-02-30"},
    "date-empty": {"page": 1, "date": ""},
    "date-null": {"page": 1, "date": None},
    "date-real": {"page": 1, "date": "2024-02-29"},
    "text-nul": {"page": 1, "text": "a\0b"},
    "text-bom": {"page": 1, "text": "\ufeffa"},
    "text-long": {"page": 1, "text": "x" * 500_000},
    "text-empty": {"page": 1, "text": ""},
    "text-emoji": {"page": 1, "text": "🏛️ Übergröße"},
    "slot-first": {"page": 7, "meeting": "Council", "date": "2024-01-02", "text": "one"},
    "slot-second": {"page": 7, "meeting": "Council", "date": "2024-01-02", "text": "two"},
}
REJECTED: Final[dict[str, Row]] = {
    "page-fraction": {"page": "1.5"},
    "page-null": {"page": None},
    "page-negative": {"page": -1},
    "page-too-great": {"page": 1 << 40},
    "page-words": {"page": "three"},
}
NAMELESS: Final[list[Row]] = [
    {"id": None, "page": 1},
    {"id": 17, "page": 1},
    {"id": "", "page": 1},
]


def odd_site(farm: SourceFarm, version: Version) -> SourceSite:
    named = [{"id": name, **row} for name, row in (STORED | REJECTED).items()]
    return farm.shared(version=version, columns=UNTYPED, minutes=[*GOOD, *named, *NAMELESS])


def test_each_bad_row_meets_its_fate_and_no_other_row_suffers(
    prepared: CommandLine, source_farm: SourceFarm, datasette_version: Version
) -> None:
    source = odd_site(source_farm, datasette_version)
    prepared.start("run", "walker", **settings_for(source))
    prepared.start("run", "sink")
    for site in ("one.ca", "two.ca"):
        prepared.ok("sites", "add", site)
        (walk,) = prepared.ok(
            *("backfill", "--subdomain", site, "--document-type", "minutes", "--json")
        ).json
        assert walk["stored"] == len(GOOD) + len(STORED)
        assert walk["rejected"] == len(REJECTED) + len(NAMELESS)
        differences = compare(source.database, prepared.environment["PAGESTREAM_DATABASE"], site)
        assert not differences, str(differences)
    pages = {
        row[0]: row[1:]
        for row in prepared.ask(
            "SELECT id, page_number, meeting_date_text, meeting_date::text, length(text), sanitised"
            " FROM pagestream.meeting_page WHERE subdomain = 'two.ca'"
        )
    }
    assert pages["page-as-text"][0] == 3
    assert pages["date-today"][1:3] == ("today", None)
    assert pages["date-no-day"][1:3] == ("2024-02-30", None)
    assert pages["date-real"][1:3] == ("2024-02-29", "2024-02-29")
    assert pages["text-nul"][4] == ["text"]
    assert pages["text-long"][3] == 500_000
    letters = prepared.ask(
        "SELECT page_id, reason FROM pagestream.dead_letter WHERE subdomain = 'two.ca'"
    )
    assert {name for name, reason in letters if reason == "bad_page_number"} == set(REJECTED)
    assert [reason for name, reason in letters if name is None] == ["bad_id"] * len(NAMELESS)
