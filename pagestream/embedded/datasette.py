"""An embedded Datasette, each version in a cached environment of its own, serving SQLite files."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, get_args

from pagestream.embedded.caching import alone, cache_directory, spare_cache
from pagestream.embedded.pip_settings import uv_environment
from pagestream.embedded.processes import Command, spawn
from pagestream.embedded.progress import Progress, silent
from pagestream.embedded.server import EmbeddedServer
from runtime.errors import ConfigurationError

Version = Literal["0.65", "1.0"]
VERSIONS: Final[tuple[Version, ...]] = get_args(Version)
"""The release lines of Datasette that sites run; datasette-<line>.lock pins each."""


class EmbeddedDatasette(EmbeddedServer):
    """One Datasette serving `databases`, each under its file's name; its address is its base URL.

    The files stay writable from outside: a site is rebuilt under its readers. `metadata`,
    `settings` and `plugins`, a folder, are Datasette's own.
    """

    title: ClassVar[str] = "Datasette"
    ready_line: ClassVar[bytes] = b"Uvicorn running on"

    def __init__(
        self,
        state: Path,
        databases: Sequence[Path],
        *,
        version: Version = "0.65",
        metadata: Mapping[str, Any] | None = None,
        settings: Mapping[str, str | int] | None = None,
        plugins: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        super().__init__(state, progress=progress)
        self._databases = [path.absolute() for path in databases]
        self._version = version
        self._metadata = metadata or {}
        self._settings = settings or {}
        self._plugins = plugins
        self._python = Path(sys.executable)

    def prepare(self) -> None:
        """Have this version's environment, and its metadata in a file."""
        absent = [path for path in self._databases if not path.exists()]
        if absent:
            raise ConfigurationError(f"there is no database {absent[0]}", remedy="name its file")
        self._python = self._environment()
        (self.state / "metadata.json").write_text(json.dumps(self._metadata))

    def launch(self, port: int) -> subprocess.Popen[bytes]:
        """Start the server on `port`."""
        command: list[str | Path] = [self._python, "-I", "-m", "datasette", "serve"]
        command += [*self._databases, "--metadata", self.state / "metadata.json"]
        command += [] if self._plugins is None else ["--plugins-dir", self._plugins]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        for name, value in self._settings.items():
            command += ["--setting", name, str(value)]
        return spawn(command, self.log)

    def address(self, port: int) -> str:
        """Return the base URL, without a slash at its end."""
        return f"http://127.0.0.1:{port}"

    def _environment(self) -> Path:
        """Return the Python of this version's environment, made when it is not there.

        It appears under its name only when complete; a second process waits for the first.
        """
        cache = cache_directory()
        with as_file(files("pagestream.embedded") / f"datasette-{self._version}.lock") as lock:
            pinned = f"{sys.version} {sys.base_prefix}".encode() + lock.read_bytes()
            digest = hashlib.sha256(pinned).hexdigest()[:12]
            environment = cache / f"datasette-{self._version}-{digest}"
            python = environment / "bin" / "python"
            with alone(cache / f"datasette-{self._version}.lock"):
                if not python.exists():
                    self._install(lock, environment)
        return python

    def _install(self, lock: Path, environment: Path) -> None:
        self.progress(f"{self.title} {self._version}: installing")
        shutil.rmtree(environment, ignore_errors=True)
        unfinished = environment.with_name(f"{environment.name}.unfinished")
        log = self.state / "install.log"
        variables = _without_interference() | {"UV_NO_PROGRESS": "1"}
        variables |= uv_environment(variables, spare_cache())
        create: Command = [
            uv(),
            "venv",
            "--no-project",
            "--clear",
            "--python",
            sys.executable,
            unfinished,
        ]
        self.complete(lambda: spawn(create, log, environment=variables), log)
        install: Command = [
            *(uv(), "pip", "install", "--require-hashes", "--no-build", "-r", lock),
            *("--python", unfinished / "bin" / "python"),
        ]
        self.complete(lambda: spawn(install, log, environment=variables), log)
        unfinished.replace(environment)


def _without_interference() -> dict[str, str]:
    ours = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def uv() -> Path:
    """Return the uv that pip has installed; ConfigurationError when it is not there."""
    beside = Path(sys.executable).with_name("uv")
    found = beside if beside.exists() else shutil.which("uv")
    if found is None:
        raise ConfigurationError(
            "the embedded Datasette needs uv, which is not installed",
            remedy="pip install 'pagestream[embedded]'",
        )
    return Path(found)
