"""A whole pagestream on one machine: real servers, the roles, and the demo's city as its source."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from pagestream.access import open_cluster
from pagestream.demo import city
from pagestream.embedded.datasette import EmbeddedDatasette
from pagestream.embedded.kafka import EmbeddedKafka
from pagestream.embedded.postgres import EmbeddedPostgres
from pagestream.embedded.progress import Progress
from pagestream.embedded.stack import Stack
from pagestream.environment import published
from pagestream.supervision import Report, Supervisor
from runtime.database.migrating import migrate
from runtime.kafka.cluster import Cluster
from runtime.settings import Settings

_ROLES: Final = ("walker", "sink")
# With the default of a second, a busy machine's first queries would be refused.
_PATIENT: Final = {"sql_time_limit_ms": 20_000}


class Installation(msgspec.Struct, kw_only=True):
    """A running installation: where everything is, and how to reach it."""

    state: Path
    settings: Settings
    cluster: Cluster
    source: str
    database_file: Path
    environment: Path
    roles: Supervisor


@contextmanager
def running(settings: Settings, progress: Progress, report: Report) -> Iterator[Installation]:
    """Run everything on the state directory for as long as the block runs.

    1. The servers, side by side. 2. The file that tells other commands where they are. 3. The
    topics and the schema. 4. The roles, until they are ready. It all ends in reverse order.
    Raises OwnedElsewhere when another process has the state directory, Unavailable when a server
    does not come up.
    """
    state = settings.state_directory.absolute()
    with ExitStack() as held:
        database_file = city.database_file(state / "demo")
        stack = held.enter_context(Stack(state, _servers(settings, state, database_file, progress)))
        database, kafka, source = stack.addresses
        variables = _variables(settings, state, database, kafka, source)
        environment = held.enter_context(published(state, variables))
        ours = _with(settings, variables)
        progress("Topics and schema: creating")
        cluster = open_cluster(ours)
        cluster.create_topics()
        cluster.check_topics()
        migrate(ours)
        progress("Topics and schema: ready")
        progress("Walker and sink: starting")
        roles = held.enter_context(Supervisor(_ROLES, state, variables, report))
        roles.wait_until_ready()
        progress("Walker and sink: ready")
        yield Installation(
            state=state,
            settings=ours,
            cluster=cluster,
            source=source,
            database_file=database_file,
            environment=environment,
            roles=roles,
        )


class _CityDatasette(EmbeddedDatasette):
    """A Datasette that unpacks the city's database before it starts."""

    def __init__(self, state: Path, database_file: Path, progress: Progress) -> None:
        super().__init__(
            state,
            [database_file],
            metadata=city.metadata(),
            settings=_PATIENT,
            plugins=city.PLUGINS,
            progress=progress,
        )
        self._database_file = database_file

    def prepare(self) -> None:
        """Have the city's database, and Datasette's environment."""
        city.unpack(self._database_file)
        super().prepare()


def _servers(
    settings: Settings, state: Path, database_file: Path, progress: Progress
) -> tuple[EmbeddedPostgres, EmbeddedKafka, "_CityDatasette"]:
    maven_url = settings.maven_url
    repository = None if maven_url is None else maven_url.get_secret_value()
    return (
        EmbeddedPostgres(state / "postgres", progress=progress),
        EmbeddedKafka(state / "kafka", progress=progress, repository=repository),
        _CityDatasette(state / "datasette", database_file, progress),
    )


def _variables(
    settings: Settings, state: Path, database: str, kafka: str, source: str
) -> dict[str, str]:
    address = source.removeprefix("http://")
    port = address.rpartition(":")[2]
    return {
        "PAGESTREAM_KAFKA": kafka,
        "PAGESTREAM_DATABASE": database,
        "PAGESTREAM_SOURCE_URL": f"http://{{subdomain}}.localhost:{port}",
        "PAGESTREAM_SOURCE_CONNECT": address,
        "PAGESTREAM_TOPIC_PREFIX": settings.topic_prefix,
        "PAGESTREAM_STATE_DIRECTORY": str(state),
    }


def _with(settings: Settings, variables: dict[str, str]) -> Settings:
    """Return the settings with those of this installation in place of whatever else was set."""
    names = {name.removeprefix("PAGESTREAM_").lower(): value for name, value in variables.items()}
    return Settings(**{**settings.model_dump(), **names})
