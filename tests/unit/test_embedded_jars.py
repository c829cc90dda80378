"""The lock file of Kafka's class path, and the cache that is filled from it."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pagestream.embedded import jars
from pagestream.embedded.jars import Jar, class_path, locked_jars
from runtime.errors import ConfigurationError, Unavailable

CONTENTS = {"one": b"the first jar", "two": b"the second jar" * 100_000}


def jar(name: str, content: bytes) -> Jar:
    return Jar("org.example", name, "1.0", hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A Maven repository over HTTP: its URL, and the directory that it serves."""
    directory = tmp_path / "repository"
    for name, content in CONTENTS.items():
        path = directory / "org" / "example" / name / "1.0" / f"{name}-1.0.jar"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    handler = functools.partial(QuietHandler, directory=str(directory))
    with QuietServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", directory
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that closing it waits for its requests

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that breaks a download off."""


@pytest.fixture(autouse=True)
def small_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    locked = tuple(jar(name, content) for name, content in CONTENTS.items())
    monkeypatch.setattr(jars, "locked_jars", lambda: locked)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def contents(paths: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def test_the_lock_names_every_jar_once_with_hash_and_size() -> None:
    locked = locked_jars()
    assert len({(entry.group, entry.name) for entry in locked}) == len(locked) == 35
    assert all(len(entry.sha256) == 64 and entry.size > 0 for entry in locked)
    assert {entry.version for entry in locked if entry.group == "org.apache.kafka"} == {"4.3.1"}


def test_jars_are_downloaded_in_lock_order_and_kept(repository: tuple[str, Path]) -> None:
    url, directory = repository
    paths = class_path(url)
    assert contents(paths) == list(CONTENTS.values())
    for served in directory.rglob("*.jar"):
        served.unlink()
    assert class_path(url) == paths


@pytest.mark.parametrize("damage", [b"", b"the first jam", b"the first jar and more"])
def test_a_damaged_jar_heals(repository: tuple[str, Path], damage: bytes) -> None:
    url, _ = repository
    first, second = class_path(url)
    untouched = second.stat().st_mtime_ns
    first.write_bytes(damage)
    assert contents(class_path(url)) == list(CONTENTS.values())
    assert second.stat().st_mtime_ns == untouched


def test_another_file_than_the_locked_one_is_refused_and_not_kept(
    repository: tuple[str, Path], tmp_path: Path
) -> None:
    url, directory = repository
    next(directory.rglob("one-1.0.jar")).write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match=r"org\.example:one:1\.0 is not the file"):
        class_path(url)
    cached = [path.read_bytes() for path in (tmp_path / "cache").rglob("*one*")]
    assert cached == []


def test_a_jar_that_the_repository_lacks_is_named_with_a_remedy(
    repository: tuple[str, Path],
) -> None:
    url, directory = repository
    next(directory.rglob("two-1.0.jar")).unlink()
    with pytest.raises(Unavailable, match=r"two:1\.0.*404.*PAGESTREAM_MAVEN_URL"):
        class_path(url)


@pytest.mark.parametrize(
    ("scheme", "missing"), [("http://", "two-1.0.jar"), ("http:/", "none"), ("no-such://", "none")]
)
def test_a_password_in_the_repositorys_address_is_never_said(
    repository: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, scheme: str, missing: str
) -> None:
    url, directory = repository
    monkeypatch.setattr(jars, "_ATTEMPTS", 1)
    for jar_file in directory.rglob(missing):
        jar_file.unlink()
    with pytest.raises(Unavailable, match="cannot download") as stopped:
        class_path(url.replace("http://", f"{scheme}ana:pass/word@"))
    assert "word" not in str(stopped.value)
    with pytest.raises(Unavailable, match="cannot download") as stopped:
        class_path(url.replace("http://", f"{scheme}ana:password@"))
    assert "password" not in str(stopped.value)


def test_no_network_is_one_line_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_ATTEMPTS", 2)
    with pytest.raises(Unavailable, match=r"cannot download .*PAGESTREAM_MAVEN_URL") as stopped:
        class_path("http://127.0.0.1:1")
    assert "\n" not in str(stopped.value)


def test_progress_reaches_the_total(repository: tuple[str, Path]) -> None:
    seen: list[tuple[int, int]] = []
    class_path(repository[0], lambda _task, done=0, total=0: seen.append((done, total)))
    total = sum(map(len, CONTENTS.values()))
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)


def test_a_download_can_be_abandoned(repository: tuple[str, Path], tmp_path: Path) -> None:
    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(Unavailable, match="broken off"):
        class_path(repository[0], abandoned=abandoned)
    assert list((tmp_path / "cache").rglob("*.partial")) == []
