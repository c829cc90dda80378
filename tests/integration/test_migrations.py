"""Migrations on a real server: from nothing, twice, at once, by a humble role, and their views."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from fix_sink import wait_until
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr
from servers import Services
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

import migrations
from migrations import steps
from runtime.database import schema
from runtime.database.connections import connect
from runtime.database.migrating import Migration, migrate
from runtime.database.schema import check_schema, schema_revision
from runtime.errors import ConfigurationError, Unavailable
from runtime.settings import Settings

VIEWS = {
    "dead_letter",
    "meeting_document",
    "meeting_page",
    "municipality",
    "sink_gap",
    "walk",
    "walk_barrier",
    "walk_figures",
    "walk_job",
}


def settings(database: str) -> Settings:
    return Settings(database=SecretStr(database))


def tables(database: str, schema_name: str) -> set[str]:
    with connect(settings(database), "test") as connection:
        found = connection.execute(
            "SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace"
            " WHERE n.nspname = %s AND c.relkind IN ('r', 'v')",
            (schema_name,),
        )
        return {name for (name,) in found}


def test_the_program_knows_exactly_the_revisions_that_there_are() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]

    assert known[::-1] == list(migrations.REVISIONS)


def test_every_sql_file_belongs_to_a_migration() -> None:
    versions = Path(migrations.__file__).with_name("versions")
    modules = "".join(path.read_text() for path in versions.glob("m*.py"))

    for path in versions.glob("*.sql"):
        assert f'"{path.name}"' in modules


def test_an_empty_database_gets_everything(database: str) -> None:
    done = migrate(settings(database))

    assert (done.before, done.after) == (None, migrations.REVISIONS[-1])
    assert tables(database, "pagestream_1") == {
        "meeting_document",
        "meeting_page",
        "municipality",
        "sink_position",
    }
    assert tables(database, "pagestream_log") == {
        "dead_letter",
        "schema_version",
        "sink_gap",
        "walk",
        "walk_barrier",
        "walk_figures",
        "walk_job",
    }
    assert tables(database, "pagestream") == VIEWS
    with connect(settings(database), "test") as connection:
        check_schema(connection)


def test_a_second_migration_finds_nothing_to_do(database: str) -> None:
    migrate(settings(database))

    assert migrate(settings(database)) == Migration(
        migrations.REVISIONS[-1], migrations.REVISIONS[-1], ()
    )


def test_a_migration_waits_for_one_that_is_under_way(database: str) -> None:
    done: list[Migration] = []
    later = threading.Thread(target=lambda: done.append(migrate(settings(database))))
    with connect(settings(database), "test") as earlier, connect(settings(database), "x") as eye:
        with earlier.transaction():
            earlier.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('pagestream migrate', 0))"
            )
            later.start()
            waiting = (
                "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
            )
            wait_until(lambda: eye.execute(waiting).fetchall(), "the migration to wait")
            assert schema_revision(eye) is None
        later.join()

    assert [each.after for each in done] == [migrations.REVISIONS[-1]]


def test_migrations_at_once_all_succeed(database: str) -> None:
    program = (
        "from runtime.database.migrating import migrate; from runtime.settings import load;"
        "print(migrate(load()).after)"
    )
    at_once = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PAGESTREAM_DATABASE": database},
            cwd=Path(migrations.__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in at_once]

    assert said == [migrations.REVISIONS[-1]] * 3


def test_a_migration_that_fails_leaves_nothing(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = steps.read
    monkeypatch.setattr(
        "migrations.steps.read", lambda name: whole(name) if "views" not in name else "SELECT 1/0"
    )
    with connect(settings(database), "test") as connection:
        connection.execute("CREATE SCHEMA pagestream_1")
        connection.execute("CREATE TABLE pagestream_1.meeting_page (mine text)")

    with pytest.raises(ConfigurationError, match="42P07"):
        migrate(settings(database))

    assert tables(database, "pagestream_1") == {"meeting_page"}
    assert tables(database, "pagestream_log") == set()


def test_a_database_never_migrated_says_what_to_run(database: str) -> None:
    with connect(settings(database), "test") as connection:
        assert schema_revision(connection) is None
        with pytest.raises(ConfigurationError, match="run `pagestream migrate`"):
            check_schema(connection)


def test_an_old_schema_says_what_to_run(
    migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "REVISIONS", (*migrations.REVISIONS, "9998"))

    with (
        connect(settings(migrated_database), "test") as connection,
        pytest.raises(ConfigurationError, match=r"too old .* run `pagestream migrate`"),
    ):
        check_schema(connection)


def test_a_newer_schema_is_left_alone(migrated_database: str) -> None:
    with connect(settings(migrated_database), "test") as connection:
        connection.execute("UPDATE pagestream_log.schema_version SET version_num = '9999'")
        with pytest.raises(ConfigurationError, match="9999, newer than this program"):
            check_schema(connection)
    with pytest.raises(ConfigurationError, match="newer than this program"):
        migrate(settings(migrated_database))


def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(Unavailable, match="PAGESTREAM_DATABASE"):
        migrate(settings("postgresql://127.0.0.1:1/nowhere"))


def test_the_same_files_make_a_second_generation_and_switch_the_views(
    migrated_database: str,
) -> None:
    with closing(connect(settings(migrated_database), "test")) as connection:
        connection.execute("CREATE SCHEMA pagestream_2")
        connection.autocommit = False
        engine = create_engine(
            "postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool
        )
        with engine.begin() as vehicle:
            for name in ("m0001_generation.sql", "m0001_views.sql"):
                steps.run_in_generation(vehicle, "pagestream_2", steps.read(name))

    assert tables(migrated_database, "pagestream_2") == tables(migrated_database, "pagestream_1")
    with connect(settings(migrated_database), "test") as connection:
        connection.execute(
            "INSERT INTO pagestream_2.municipality (id, subdomain, placeholder)"
            " VALUES (1, 'of-two.ca', true)"
        )
        shown = connection.execute("SELECT subdomain FROM pagestream.municipality").fetchall()
    assert shown == [("of-two.ca",)]


@pytest.fixture
def humble_role(services: Services, database: str) -> Iterator[str]:
    """The connection string of a role that owns a database and may create no roles."""
    name = f"humble_{uuid.uuid4().hex[:8]}"
    identifier = sql.Identifier(name)
    owned = sql.Identifier(str(conninfo_to_dict(database)["dbname"]))
    with psycopg.connect(services.database, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(identifier))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(owned, identifier))
    yield make_conninfo(database, user=name, password="x")  # noqa: S106 - of a test's own role
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(identifier))
        connection.execute(sql.SQL("DROP OWNED BY {}").format(identifier))
        connection.execute(sql.SQL("DROP ROLE {}").format(identifier))


def test_an_owner_who_may_create_no_roles_can_migrate(humble_role: str) -> None:
    done = migrate(settings(humble_role))

    assert done.after == migrations.REVISIONS[-1]
    with connect(settings(humble_role), "test") as connection:
        (readers,) = connection.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname = 'pagestream_reader'"
        ).fetchone() or (0,)
    told = any("pagestream_reader was not created" in notice for notice in done.notices)
    assert told is (readers == 0)


def test_the_reader_sees_the_views_and_nothing_else(migrated_database: str) -> None:
    with connect(settings(migrated_database), "test") as connection:
        connection.execute("SET ROLE pagestream_reader")
        for view in VIEWS:
            connection.execute(
                sql.SQL("SELECT * FROM pagestream.{}").format(sql.Identifier(view))
            ).fetchall()
        for table in ("pagestream_1.meeting_page", "pagestream_log.dead_letter"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {table}")
        for change in (
            "DELETE FROM pagestream.municipality",
            "UPDATE pagestream.walk SET status = 'completed'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(change)


def test_text_is_compressed_by_lz4_where_the_server_can(database: str) -> None:
    done = migrate(settings(database))

    with connect(settings(database), "test") as connection:
        found = connection.execute(
            "SELECT DISTINCT attcompression FROM pg_attribute"
            " WHERE attrelid = 'pagestream_1.meeting_page'::regclass"
            " AND attname IN ('text', 'page_image', 'entities', 'votes')"
        ).fetchall()
    pglz_said = any("without lz4" in notice for notice in done.notices)
    assert found == ([("",)] if pglz_said else [("l",)])


def test_the_hash_check_reads_the_index_alone(migrated_database: str) -> None:
    with connect(settings(migrated_database), "test") as connection:
        connection.execute("VACUUM pagestream_1.meeting_page")
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT id, row_hash FROM pagestream_1.meeting_page"
            " WHERE municipality_id = 1 AND kind = 'minutes'"
        ).fetchall()
    assert any("Index Only Scan using meeting_page_pkey" in line for (line,) in plan)
