"""The ids of municipalities and documents: golden vectors, because stored ids must never change."""

import pytest

from consumers.identities import document_id, municipality_id
from schemas.tables import Kind


@pytest.mark.parametrize(
    ("site", "expected"), [("alameda.ca", 627514347674854413), ("x", 3274422879871479876)]
)
def test_a_municipalitys_id(site: str, expected: int) -> None:
    assert municipality_id(site) == expected


@pytest.mark.parametrize(
    ("kind", "meeting", "date", "expected"),
    [
        ("minutes", "City Council", "2024-02-29", 5226662573743656930),
        ("minutes", None, None, -7095988090404419912),
        ("agenda", "", "", 1394744057858284230),
    ],
)
def test_a_documents_id(kind: Kind, meeting: str | None, date: str | None, expected: int) -> None:
    assert document_id("alameda.ca", kind, meeting, date) == expected
