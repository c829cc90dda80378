"""Kafka's class path: the jars of kafka.lock, downloaded once, verified at every start."""

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Final

import stamina

from pagestream.embedded.caching import cache_directory
from pagestream.embedded.pip_settings import system_certificates
from pagestream.embedded.progress import Progress, silent
from runtime.errors import ConfigurationError, Unavailable

_DOWNLOADS_AT_ONCE: Final = 6
_ATTEMPTS: Final = 4
_STALL_SECONDS: Final = 30.0
_CHUNK_BYTES: Final = 256 * 1024
_CLIENT_ERRORS: Final = range(400, 500)
_CREDENTIALS: Final = re.compile(r"[^\s'\"]*@")


@dataclass(frozen=True)
class Jar:
    """One line of a lock file: Maven coordinates, SHA-256 and size in bytes."""

    group: str
    name: str
    version: str
    sha256: str
    size: int

    @property
    def coordinates(self) -> str:
        """The jar's Maven coordinates, `group:name:version`."""
        return f"{self.group}:{self.name}:{self.version}"

    @property
    def file_name(self) -> str:
        """The jar's name in the cache: it holds the hash, so two locks never mix their files."""
        return f"{self.name}-{self.version}-{self.sha256[:12]}.jar"

    def matches(self, path: Path) -> bool:
        """Tell whether the file is there and is this very jar."""
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


class _RefusedError(Exception):
    """The repository answered that it will not give the jar: asking again is no use."""


def locked_jars() -> tuple[Jar, ...]:
    """Return the jars of kafka.lock, in class path order."""
    lines = files("pagestream.embedded").joinpath("kafka.lock").read_text().splitlines()
    return tuple(_parse(line) for line in lines if line.strip())


def _parse(line: str) -> Jar:
    coordinates, sha256, size = line.split()
    group, name, version = coordinates.split(":")
    return Jar(group, name, version, sha256, int(size))


def class_path(
    repository: str | None = None,
    progress: Progress = silent,
    abandoned: threading.Event | None = None,
) -> list[Path]:
    """Return every locked jar's path, each verified; what is missing or damaged is downloaded.

    `repository` is the Maven repository to ask instead of the default one; `abandoned`, once set,
    breaks the download off. Unavailable when a jar cannot be had, ConfigurationError when the
    repository gives another file than the locked one.
    """
    directory = cache_directory() / "jars"
    directory.mkdir(exist_ok=True)
    jars = locked_jars()
    paths = [directory / jar.file_name for jar in jars]
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as threads:
        intact = threads.map(Jar.matches, jars, paths)
    missing = [(jar, path) for jar, path, good in zip(jars, paths, intact, strict=True) if not good]
    if missing:
        _Download(repository, progress, missing, abandoned or threading.Event()).run()
    return paths


class _Download:
    """One download of several jars; each lands under its name only when whole and verified."""

    def __init__(
        self,
        repository: str | None,
        progress: Progress,
        wanted: list[tuple[Jar, Path]],
        abandoned: threading.Event,
    ) -> None:
        # Imported here: it takes a tenth of a second, and a warm start does without it.
        downloading = import_module("maven_artifact.downloader")
        downloader = downloading.Downloader(**({"base": repository} if repository else {}))
        self._artifact = import_module("maven_artifact.artifact").Artifact
        self._address_of = downloader.resolver.uri_for_artifact
        self._request = partial(
            downloader.requestor.request, stream=True, timeout=_STALL_SECONDS, verify=trusted()
        )
        self._progress = progress
        self._wanted = wanted
        self._task = f"Kafka: downloading {len(wanted)} jars"
        self._total = sum(jar.size for jar, _ in wanted)
        self._done = 0
        self._lock = threading.Lock()
        self._failed = threading.Event()
        self._abandoned = abandoned

    def run(self) -> None:
        """Download all, several at once; the first failure ends the others."""
        self._progress(self._task, 0, self._total)
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as threads:
            downloads = [threads.submit(self._fetch, jar, path) for jar, path in self._wanted]
            try:
                for download in downloads:
                    download.result()
            except BaseException:
                self._failed.set()
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _fetch(self, jar: Jar, path: Path) -> None:
        partial_path = path.with_suffix(f".{os.getpid()}.partial")
        try:
            for attempt in stamina.retry_context(on=OSError, attempts=_ATTEMPTS):
                with attempt:
                    self._save(jar, partial_path)
            if not jar.matches(partial_path):
                raise ConfigurationError(
                    f"the repository's {jar.coordinates} is not the file in kafka.lock",
                    remedy="look at PAGESTREAM_MAVEN_URL, or at what stands between",
                )
            partial_path.replace(path)
        except (OSError, _RefusedError) as error:
            raise Unavailable(
                f"cannot download {jar.coordinates}: {_without_credentials(str(error))}",
                remedy="check the network, or name a mirror in PAGESTREAM_MAVEN_URL",
            ) from None  # what lies behind it holds the address as it was given
        finally:
            partial_path.unlink(missing_ok=True)

    def _save(self, jar: Jar, path: Path) -> None:
        received = 0
        try:
            with path.open("wb") as file:
                for chunk in self._chunks(jar):
                    file.write(chunk)
                    received += len(chunk)
                    self._advance(len(chunk))
        except BaseException:
            self._advance(-received)
            raise

    def _chunks(self, jar: Jar) -> Iterator[bytes]:
        address = self._address_of(self._artifact(jar.group, jar.name, jar.version))
        with self._request(address, _refuse) as response:
            for chunk in response.iter_content(_CHUNK_BYTES):
                if self._failed.is_set() or self._abandoned.is_set():
                    raise _RefusedError("the download was broken off")
                yield chunk

    def _advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._progress(self._task, self._done, self._total)


def _refuse(address: str, error: Exception) -> None:
    """Raise the error of a request: as refusal when the repository answered that it will not."""
    response = getattr(error, "response", None)
    if response is not None:
        response.close()  # an unread body would keep its connection open
        if response.status_code in _CLIENT_ERRORS:
            raise _RefusedError(f"{address} answers {response.status_code}") from error
    raise error


def _without_credentials(message: str) -> str:
    """Return a message without what comes before the host of any address in it."""
    return _CREDENTIALS.sub("…@", message)


def trusted() -> str | bool:
    """Return the certificates to check a repository's against, as `requests` takes them.

    A file or directory that the environment names, else the system's, else (True) the client's own:
    behind a private certificate authority only the system knows it.
    """
    chosen = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return chosen or str(system_certificates() or "") or True
