"""Fixtures for the command line as a person has it: the console script, run as a process."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from fix_services import KafkaCorner, created_database
from fix_source import SourceFarm, SourceSite, make_pages
from servers import Services

SCRIPT: Final = Path(sys.executable).with_name("pagestream")
_DEADLINE: Final = 60.0


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote to stdout, as JSON."""
        return json.loads(self.out)


class CommandLine:
    """The console script in a folder of its own, with nothing set but what is given."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if _is_ours_to_keep(name)}
        self.environment = kept | {f"PAGESTREAM_{k.upper()}": v for k, v in settings.items()}
        self._started: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str, seconds: float = _DEADLINE, **settings: str) -> Finished:
        """Run a command to its end; `settings` overlay those of the folder."""
        done = subprocess.run(
            [SCRIPT, *arguments],
            cwd=self.folder,
            env=self._with(settings),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, seconds: float = _DEADLINE, **settings: str) -> Finished:
        """Run a command that must succeed."""
        done = self.run(*arguments, seconds=seconds, **settings)
        assert done.code == 0, done
        return done

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Start a command that goes on; it is killed after the test."""
        process = subprocess.Popen(
            [SCRIPT, *arguments],
            cwd=self.folder,
            env=self._with(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def ask(self, query: LiteralString, *parameters: object) -> list[Any]:
        """Return the rows of a query to the database."""
        with psycopg.connect(self.environment["PAGESTREAM_DATABASE"]) as connection:
            return connection.execute(query, parameters).fetchall()

    def close(self) -> None:
        """Kill what was started and still runs; show what it wrote, for a failed test."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            out, err = process.communicate()
            sys.stderr.write(f"--- {process.args}\n{out}{err}\n")

    def _with(self, settings: dict[str, str]) -> dict[str, str]:
        return self.environment | {f"PAGESTREAM_{k.upper()}": v for k, v in settings.items()}


def _is_ours_to_keep(name: str) -> bool:
    return not name.startswith(("PAGESTREAM_", "PYTEST_")) or name == "PAGESTREAM_MAVEN_URL"


def wait_for(happened: Callable[[], object], seconds: float = _DEADLINE) -> None:
    """Wait until `happened` is true; AssertionError when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def finished(process: subprocess.Popen[str], seconds: float = _DEADLINE) -> Finished:
    """Wait for a process, and return how it ended."""
    out, err = process.communicate(timeout=seconds)
    return Finished(process.returncode, out, err)


def end(process: subprocess.Popen[str], number: int) -> Finished:
    """Send a signal, and return how the process ended."""
    process.send_signal(number)
    return finished(process)


def interrupt(process: subprocess.Popen[str]) -> Finished:
    """Press Ctrl-C, and return how the process ended."""
    return end(process, signal.SIGINT)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line in an empty folder, with nothing set."""
    line = CommandLine(tmp_path)
    yield line
    line.close()


@pytest.fixture
def prepared(tmp_path: Path, kafka: KafkaCorner, migrated_database: str) -> Iterator[CommandLine]:
    """The command line with topics and schema of this test's own; nothing runs."""
    line = CommandLine(
        tmp_path, kafka=kafka.bootstrap, topic_prefix=kafka.prefix, database=migrated_database
    )
    line.ok("topics", "--create")
    yield line
    line.close()


@pytest.fixture(scope="session")
def small_city(source_farm: SourceFarm) -> SourceSite:
    """A site of 1,200 minutes; the table of agendas is not there at all."""
    return source_farm.shared(
        minutes=make_pages("minutes", 1200), change=lambda c: c.execute("DROP TABLE agendas")
    )


def settings_for(site: SourceSite) -> dict[str, str]:
    """Return the settings that make every subdomain this site."""
    port = site.address.rpartition(":")[2]
    return {
        "source_url": f"http://{{subdomain}}.localhost:{port}",
        "source_connect": site.address,
    }


@pytest.fixture(scope="session")
def working(
    services: Services,
    kafka_admin: AdminClient,
    migrated_template: str,
    small_city: SourceSite,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[CommandLine]:
    """The command line beside a walker and a sink at work: take a subdomain of the test's own."""
    folder, prefix = tmp_path_factory.mktemp("working"), f"test-{uuid.uuid4().hex[:10]}"
    with created_database(services, migrated_template) as database:
        line = CommandLine(
            folder,
            kafka=services.kafka,
            topic_prefix=prefix,
            database=database,
            **settings_for(small_city),
        )
        line.ok("topics", "--create")
        line.start("run", "walker", log_level="error")
        line.start("run", "sink", log_level="error")
        yield line
        line.close()
    topics = [name for name in kafka_admin.list_topics(timeout=30).topics if prefix in name]
    for deleted in kafka_admin.delete_topics(topics).values():
        deleted.result(30)
