"""The table of faults held to its tests: each line is a test, and each tested fault has a line."""

import re
from pathlib import Path
from typing import Final, get_args

import pytest

from runtime.http import Reason

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "faults.md"
TESTS: Final = [
    *sorted((ROOT / "tests" / "integration").glob("test_faults_*.py")),
    ROOT / "tests" / "integration" / "test_inserted_midway.py",
    ROOT / "tests" / "system" / "test_bad_input.py",
    ROOT / "tests" / "system" / "test_many_sites.py",
]
_NAME: Final = r"\b((?:2[5-9]|3[0-7])-[a-z0-9][a-z0-9.-]*[a-z0-9])\b"


def named_by_tests(*texts: str) -> set[str]:
    """Return the faults that tests name: as the ids of their cases, or in their words."""
    return {name for text in texts for name in re.findall(_NAME, text)}


def lines_of(text: str) -> dict[str, str]:
    """Return each fault's line."""
    return {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}


def test_every_fault_is_explained_and_every_explained_fault_is_tested() -> None:
    assert named_by_tests(*(path.read_text() for path in TESTS)) == set(lines_of(PAGE.read_text()))


@pytest.mark.parametrize("row", range(25, 38))
def test_no_row_is_left_out(row: int) -> None:
    assert [name for name in lines_of(PAGE.read_text()) if name.startswith(f"{row}-")]


def test_every_reason_that_a_test_expects_is_in_its_line() -> None:
    lines = lines_of(PAGE.read_text())
    wrong = []
    for path in TESTS:
        cases = re.findall(rf'"{_NAME}": \w+\((.*?)\n    (?="|\}})', path.read_text(), re.DOTALL)
        cases += re.findall(rf'"{_NAME}": \w+\((.*?)\n\}}', path.read_text(), re.DOTALL)
        for name, case in cases:
            reasons = re.findall(r'"([a-z_]+)"', case.partition(f'"{name}')[0])
            expected = next((one for one in reasons if one in get_args(Reason)), None)
            if expected is not None and f"`{expected}`" not in lines[name]:
                wrong.append((name, expected))
    assert wrong == []


def test_a_fault_without_a_line_and_a_line_without_a_test_are_found() -> None:
    page = "| `25-one` | a |\n| `26-two` | b |\n"
    assert set(lines_of(page)) ^ named_by_tests('{"25-one": 1}', "Row 27-three.") == {
        "26-two",
        "27-three",
    }
