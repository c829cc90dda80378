"""The ids of municipalities and documents: golden vectors, because stored ids must never change."""

import pytest

from consumers.identities import document_id, municipality_id
from schemas.tables import Kind


@pytest.mark.parametrize(
    ("site", "expected"), [("alameda.ca", 5649974723386814793), ("x", -3646250847868182892)]
)
def test_a_municipalitys_id(site: str, expected: int) -> None:
    assert municipality_id(site) == expected


@pytest.mark.parametrize(
    ("kind", "meeting", "date", "expected"),
    [
        ("minutes", "City Council", "2024-02-29", 8991504178537313501),
        ("minutes", None, None, 3851385422579160508),
        ("agenda", "", "", -6654048761820369129),
    ],
)
def test_a_documents_id(kind: Kind, meeting: str | None, date: str | None, expected: int) -> None:
    assert document_id("alameda.ca", kind, meeting, date) == expected


def test_no_two_keys_are_one_text() -> None:
    cut = [("x", "y\x1fz"), ("x\x1fy", "z"), (None, "y"), ("\x1e", "y"), ("null", "y")]
    assert len({document_id("alameda.ca", "minutes", *key) for key in cut}) == len(cut)
