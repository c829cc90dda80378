"""The documentation held to the code: names exist, links resolve, commands and SQL run."""

import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import psycopg
import pytest
import typer.main

from pagestream.cli.app import app
from runtime import errors
from runtime.http import Reason
from runtime.metrics import METRICS
from runtime.settings import Settings
from schemas.codec import MESSAGE_TYPES
from schemas.commands import Request
from schemas.records import DeadLetterReason
from schemas.topics import COMMANDS, TOPICS
from schemas.walks import Status

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(DOCS / "decisions").glob("*.md")])
PYPROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Variables that are read by tests and test tools alone.
NOT_SETTINGS: Final = {
    "PAGESTREAM_TEST_KAFKA",
    "PAGESTREAM_TEST_DATABASE",
    "PAGESTREAM_TEST_BACKEND",
    "PAGESTREAM_CRASH_AT",
    "PAGESTREAM_FREEZE_AT",
}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(*names: str) -> str:
    return "\n".join((ROOT / name).read_text() for name in names)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


# Links


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        aimed = (page.parent / path).resolve() if path else page
        if not aimed.exists() or (anchor and anchor not in anchors(aimed)):
            broken.append(target)
    return broken


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading: here\n[a](#a-heading-here) [b](page.md) [c](gone.md) [d](#gone)\n"
        "[e](https://civic.band) [f](page.md#gone)\n"
    )
    assert broken_links(page) == ["gone.md", "#gone", "page.md#gone"]


def test_every_page_can_be_found_from_the_readme() -> None:
    seen: set[Path] = set()
    left = {ROOT / "README.md"}
    while left:
        page = left.pop()
        seen.add(page)
        targets = re.findall(r"\]\(([^)#\s:]+\.md)[^)]*\)", page.read_text())
        left |= {(page.parent / target).resolve() for target in targets} - seen
    assert {page.resolve() for page in PAGES} <= {page.resolve() for page in seen}


# Names


@each_page
def test_every_variable_that_is_named_exists(page: Path) -> None:
    known = {f"PAGESTREAM_{name.upper()}" for name in Settings.model_fields} | NOT_SETTINGS
    named = set(re.findall(r"\bPAGESTREAM_[A-Z_]*[A-Z]\b", page.read_text()))
    assert named <= known


def test_variables_outside_the_settings_are_few_and_in_use() -> None:
    code = "".join(path.read_text() for path in (ROOT / "tests").glob("*.py"))
    code += text_of("runtime/crashpoints.py")
    assert all(name in code for name in NOT_SETTINGS)


NAMED: Final = {
    "docs/settings.md": [f"`PAGESTREAM_{name.upper()}`" for name in Settings.model_fields],
    "docs/topics.md": [f"`pagestream.{topic.name}`" for topic in TOPICS],
    "docs/messages.md": [f"### {message.__name__}\n" for message in MESSAGE_TYPES],
    "docs/metrics.md": [f"`{metric.name}" for metric in METRICS],
    "docs/exit-codes.md": [f"| {stop.exit_code} |" for stop in errors.Stop.__subclasses__()],
    "docs/errors.md": [f"| `{reason}` |" for reason in get_args(Reason)],
    "docs/bad-input.md": [f"| `{reason}` |" for reason in get_args(DeadLetterReason)],
    "docs/concepts.md": [f"`{status}`" for status in get_args(Status)],
}


@pytest.mark.parametrize(("page", "names"), NAMED.items(), ids=NAMED)
def test_every_name_of_the_code_is_explained(page: str, names: list[str]) -> None:
    text = text_of(page)
    assert [name for name in names if name not in text] == []


def test_every_reason_that_is_explained_exists() -> None:
    for page, reasons in (("docs/errors.md", Reason), ("docs/bad-input.md", DeadLetterReason)):
        explained = re.findall(r"^\| `([a-z_]+)` \|", text_of(page), re.MULTILINE)
        assert set(explained) == set(get_args(reasons))


@each_page
def test_every_metric_that_is_named_exists(page: Path) -> None:
    exposed = {metric.name for metric in METRICS}
    exposed |= {f"{metric.name}_total" for metric in METRICS if metric.kind == "counter"}
    roles = {"pagestream_reader", "pagestream_log", "pagestream_1"}
    assert set(re.findall(r"`(pagestream_[a-z_0-9]+)`", page.read_text())) <= exposed | roles


def test_every_command_of_an_operator_is_explained() -> None:
    asked_for = [command.__name__ for command in COMMANDS.messages if issubclass(command, Request)]
    explained = text_of("docs/concepts.md")
    assert [name for name in asked_for if f"`{name}`" not in explained] == []


# Commands


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield every command line of ours: the lines of code blocks, and code within sentences."""
    text = page.read_text()
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    for code in [*lines, *re.findall(r"`([^`\n]+)`", text)]:
        words = shlex.split(code.partition("#")[0].removeprefix(".venv/bin/"))
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words[:1] in (["pagestream"], ["make"]):
            yield words


def wrong_command(words: list[str]) -> str | None:
    """Say what is wrong with a command line of ours; None when nothing is."""
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
        unknown = [word for word in words[1:] if "=" not in word and word not in targets]
        return f"no target {unknown}" if unknown else None
    command: Any = typer.main.get_command(app)
    words = [word for word in words[1:] if word != "…"]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    unknown = [word for word in words if word.startswith("--") and word not in options]
    return f"no option {unknown}" if unknown else None


@each_page
def test_every_command_that_is_shown_exists(page: Path) -> None:
    wrong = {shlex.join(words): wrong_command(words) for words in command_lines(page)}
    assert {line: reason for line, reason in wrong.items() if reason} == {}


@pytest.mark.parametrize(
    "line",
    ["pagestream replay", "pagestream walks --all", "pagestream sites move x", "make prove"],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    assert wrong_command(line.split())


def test_every_command_is_explained() -> None:
    def names(command: Any, name: str) -> Iterator[str]:
        inner = getattr(command, "commands", {})
        for each, subcommand in inner.items():
            yield from names(subcommand, f"{name} {each}")
        if not inner or command.invoke_without_command:
            yield name

    text = text_of("docs/commands.md")
    every = list(names(typer.main.get_command(app), "pagestream"))
    assert len(every) >= 10
    assert [name for name in every if f"### {name}\n" not in text] == []


def test_the_readme_starts_with_what_to_type() -> None:
    first_screen = "\n".join(text_of("README.md").splitlines()[:32])
    assert all(command in first_screen for command in ("make demo", "make test", "SINK"))


# SQL


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "sql")], ids=lambda p: p.name
)
def test_every_sql_example_runs(page: Path, migrated_database: str) -> None:
    with psycopg.connect(migrated_database) as connection:
        for block in blocks(page, "sql"):
            for statement in filter(str.strip, block.split(";")):
                connection.execute(statement.encode())


# Decisions, libraries, versions


def test_every_decision_is_listed_and_has_its_four_parts() -> None:
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    index = text_of("docs/decisions/README.md")
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        title = record.read_text().splitlines()[0].removeprefix("# ")
        assert f"- [{title}]({record.name})" in index
        parts = ("**Context.**", "**Choice.**", "**Consequences.**")
        assert all(part in record.read_text() for part in parts)


def test_every_library_has_its_reason() -> None:
    project = PYPROJECT["project"]
    listed = [
        *project["dependencies"],
        *project["optional-dependencies"]["embedded"],
        *PYPROJECT["dependency-groups"]["dev"],
    ]
    names = [re.split(r"[\[<>=~]", requirement)[0] for requirement in listed]
    reasons = text_of("docs/decisions/0002-libraries.md")
    assert [name for name in names if not re.search(rf"\| [^|]*\b{name}\b", reasons)] == []


def test_the_changelog_begins_with_this_version() -> None:
    newest = re.search(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == PYPROJECT["project"]["version"]


# What is generated


def test_every_generated_part_is_in_one_page_and_every_mark_is_known() -> None:
    parts = runpy.run_path(str(DOCS / "generate.py"))["PARTS"]
    marks = [
        name
        for page in PAGES
        for name in re.findall(r"^<!-- generated: (.+) -->$", page.read_text(), re.MULTILINE)
    ]
    assert sorted(marks) == sorted(parts)
