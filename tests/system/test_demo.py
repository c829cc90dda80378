"""The demo and `up`, from an empty folder to the last process: one story, for starts take time."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from fix_terminal import CommandLine, end, wait_for

PAGES = 4822


def processes_on(state: Path) -> list[int]:
    """Return every process that works on a state directory: its name is in the command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(state).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def children_of(process: subprocess.Popen[str]) -> list[int]:
    children = []
    for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            children += [int(child) for child in task.read_text().split()]
    return children


def lives(process_id: int) -> bool:
    return Path(f"/proc/{process_id}").exists()


def running_up(bare: CommandLine) -> subprocess.Popen[str]:
    process = bare.start("up")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("pagestream is running" in line for line in lines)
    return process


def variables(bare: CommandLine) -> dict[str, str]:
    lines = (bare.folder / ".pagestream" / "environment").read_text().splitlines()
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines)
    return {name: value.strip("'\"") for name, value in pairs}


@pytest.mark.timeout(400)
def test_the_demo_shows_equality_and_up_goes_on_with_it(bare: CommandLine) -> None:
    state = bare.folder / ".pagestream"
    demo = bare.ok("demo", seconds=200)
    counted = [line for line in demo.out.splitlines() if line.endswith(f" {PAGES:,} ")]
    assert len(counted) == 3
    assert "content hashes" in demo.out
    assert f"pages/s: {PAGES:,} new." in demo.out
    assert processes_on(state) == []

    up = running_up(bare)
    servers = children_of(up)
    assert len(servers) == 5
    second = bare.run("up")
    assert (second.code, len(second.err.splitlines()[-1:])) == (75, 1)
    assert f"in use by process {up.pid}" in second.err
    (walk,) = bare.ok(
        "backfill", "--subdomain", "alameda.ca", "--document-type", "minutes", "--json"
    ).json
    assert (walk["walk"], walk["pages"], walk["unchanged"], walk["created"]) == (2, PAGES, PAGES, 0)

    a_killed_role_is_started_again(bare, servers)
    another_site_is_not_served(bare)
    spoil_one_row(variables(bare)["PAGESTREAM_DATABASE"])
    asked = time.monotonic()
    assert end(up, signal.SIGTERM).code == 0
    assert time.monotonic() - asked < 10
    assert not any(lives(server) for server in servers)
    assert bare.run("walks").code == 69

    spoilt = bare.run("demo", seconds=200)
    assert spoilt.code == 65
    assert "alameda.ca/minutes is not the same" in spoilt.err
    assert processes_on(state) == []

    up = bare.start("up")
    wait_for(lambda: len(children_of(up)) >= 3)
    servers = children_of(up)
    up.kill()
    wait_for(lambda: not any(lives(server) for server in servers), 5)
    wait_for(lambda: processes_on(state) == [], 5)


def a_killed_role_is_started_again(bare: CommandLine, servers: list[int]) -> None:
    """Kill the walker, and ask for something that only a walker can do."""
    (walker,) = (pid for pid in servers if b"walker" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(walker, signal.SIGKILL)
    assert bare.ok("sites", "add", "oakland.ca").out == "oakland.ca: site added\n"


def another_site_is_not_served(bare: CommandLine) -> None:
    """Nobody gets this city's pages under another city's name."""
    done = bare.run("backfill", "--subdomain", "oakland.ca", "--document-type", "minutes")
    assert done.code == 1
    assert "302: it knows no such site" in done.err.splitlines()[-1]


def spoil_one_row(database: str) -> None:
    """Change a stored text behind pagestream's back: its hash no longer is that of the text."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "UPDATE pagestream_1.meeting_page SET text = text || '!' "
            "WHERE id = (SELECT min(id) FROM pagestream_1.meeting_page)"
        )
