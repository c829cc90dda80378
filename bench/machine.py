"""The machine that measured: what a reader needs to know to compare."""

import os
import platform
import re
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import msgspec
import psycopg

from bench.stand import Stand


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Processor, cores, memory in GB, and the versions of what took part."""

    processor: str
    cores: int
    gigabytes: int
    system: str
    python: str
    confluent_kafka: str
    kafka: str
    postgresql: str
    datasette: str


def describe(stand: Stand) -> Machine:
    """Describe this machine and the running servers."""
    with psycopg.connect(stand.database) as connection:
        (postgresql,) = connection.execute("SHOW server_version").fetchone() or ("unknown",)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        gigabytes=round(memory / 1e9),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        confluent_kafka=version("confluent-kafka"),
        kafka=_locked("kafka.lock", r"kafka_2\.13:(\S+)"),
        postgresql=postgresql,
        datasette=_locked("datasette-0.65.lock", r"datasette==(\S+)"),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _locked(lock: str, pattern: str) -> str:
    """Return the version that a lock file of the embedded servers names."""
    found = re.search(pattern, files("pagestream.embedded").joinpath(lock).read_text())
    return found[1] if found else "unknown"
