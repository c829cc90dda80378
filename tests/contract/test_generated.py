"""What is generated from the code and committed is what the code generates now."""

import runpy
from pathlib import Path
from typing import Final

import pytest

from schemas.codec import MESSAGE_TYPES

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outputs() -> dict[Path, str]:
    generated: dict[Path, str] = runpy.run_path(str(ROOT / "docs" / "generate.py"))["outputs"]()
    return generated


def test_every_generated_file_is_up_to_date(outputs: dict[Path, str]) -> None:
    stale = [path.relative_to(ROOT) for path, text in outputs.items() if path.read_text() != text]

    assert not stale, f"run `make docs`, and read what it changed: {stale}"


def test_every_message_has_a_json_schema_of_each_version_and_no_other_has(
    outputs: dict[Path, str],
) -> None:
    known = {
        f"{message.__name__}.v{version}.json"
        for message in MESSAGE_TYPES
        for version in range(1, message.version + 1)
    }
    assert {path.name for path in (ROOT / "schemas" / "json").iterdir()} == known
    assert {path.name for path in outputs if path.suffix == ".json"} <= known
