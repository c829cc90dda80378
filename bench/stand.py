"""Where it is measured: real servers of this machine, with the settings that production has."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psycopg
from pydantic import SecretStr

from pagestream.embedded.kafka import EmbeddedKafka
from pagestream.embedded.postgres import EmbeddedPostgres
from pagestream.embedded.stack import Stack
from runtime.database.migrating import migrate
from runtime.kafka.cluster import Cluster
from runtime.settings import Settings


class Stand(msgspec.Struct, frozen=True):
    """Running servers: where a measurement has topics, a schema and a folder of its own."""

    folder: Path
    kafka: EmbeddedKafka
    postgres: EmbeddedPostgres
    kafka_address: str
    database: str

    @contextmanager
    def corner(self, name: str) -> Iterator[Settings]:
        """Have fresh topics and a fresh database; the database is dropped afterwards."""
        database = self.database.rpartition("/")[0] + f"/bench_{name}"
        settings = Settings(
            _env_file=None,
            kafka=self.kafka_address,
            topic_prefix=f"bench-{name}",
            database=SecretStr(database),
            state_directory=self.folder / name,
        )
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE bench_{name}".encode())
        migrate(settings)
        Cluster(settings).create_topics()
        yield settings
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE bench_{name} WITH (FORCE)".encode())


@contextmanager
def servers() -> Iterator[Stand]:
    """Run Kafka and PostgreSQL for the block: Java's full compiler, and every commit on disk."""
    with tempfile.TemporaryDirectory(prefix="pagestream-bench-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # where root may not run PostgreSQL, another user enters
        postgres = EmbeddedPostgres(folder / "postgres")
        kafka = EmbeddedKafka(folder / "kafka", heap="1g", java_options=())
        with Stack(folder, (postgres, kafka)) as stack:
            database, address = stack.addresses
            yield Stand(folder, kafka, postgres, address, database)
