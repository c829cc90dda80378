"""A disk that fills up: a small file system in memory, and a database whose tables lie on it."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from servers import state_directory

from pagestream.embedded.postgres import EmbeddedPostgres, give_to_nobody, server_identity

_BYTES: Final = 64_000_000
_CHUNK: Final = bytes(65_536)


class SmallDisk:
    """A file system of 64 MB at `path`; `fill` leaves no more room than it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, leaving: int = 0) -> None:
        """Take all the room but so many bytes."""
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while file.write(_CHUNK):
                    continue
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            file.truncate(max(0, file.tell() - leaving))

    def make_room(self) -> None:
        """Give back what was taken."""
        self._ballast.unlink()


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    """A disk of the test's own; the test is skipped where this user may not mount one."""
    with state_directory() as state:
        path = state / "small"
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_BYTES},mode=0700", "pagestream", path]
        try:
            mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("a full disk needs mount(8), which is not here")
        if mounted.returncode != 0:
            pytest.skip(f"a full disk needs root, who may mount one: {mounted.stderr.strip()}")
        yield SmallDisk(path)
        # Lazily: a server that has just been killed may not be gone.
        subprocess.run(["umount", "--lazy", path], check=True)  # noqa: S607 - as found for mount


def database_on(disk: SmallDisk, postgres: EmbeddedPostgres) -> str:
    """Return the URL of a new, empty database of a running server, all of it on the disk."""
    where = disk.path / "tablespace"
    where.mkdir()
    os.chmod(where, 0o700)  # noqa: PTH101 - as the server wants it, whatever the umask is
    if server_identity() == "nobody":
        give_to_nobody(disk.path)
    url = postgres.address(port_of(postgres))
    with psycopg.connect(url, autocommit=True) as connection:
        location = sql.Literal(str(where))
        connection.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(location))
        connection.execute("CREATE DATABASE small TABLESPACE small")
    return make_conninfo(url, dbname="small")


def port_of(postgres: EmbeddedPostgres) -> int:
    """Return the port that a running server listens on."""
    return int((postgres.state / "port").read_text())
