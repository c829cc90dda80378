"""State directories, caches, ports and logs of the embedded servers."""

import os
import socket
from pathlib import Path

import pytest

from pagestream.embedded import caching
from pagestream.embedded.caching import cache_directory
from pagestream.embedded.processes import free_port, last_line
from pagestream.embedded.stack import sole_user
from runtime.errors import ConfigurationError, OwnedElsewhere


def test_the_cache_is_the_users_else_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "pagestream"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "chosen"))
    assert cache_directory() == tmp_path / "chosen" / "pagestream"
    monkeypatch.setattr(caching.sys, "prefix", str(tmp_path / "venv"))
    for nowhere in ("/proc/none", "/dev/null"):
        monkeypatch.setenv("XDG_CACHE_HOME", nowhere)
        assert cache_directory() == tmp_path / "venv" / ".cache" / "pagestream"


def test_no_cache_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    monkeypatch.setattr(caching.sys, "prefix", "/dev/null")
    with pytest.raises(ConfigurationError, match="XDG_CACHE_HOME"):
        cache_directory()


def test_a_held_state_directory_is_refused_and_free_again_afterwards(tmp_path: Path) -> None:
    with sole_user(tmp_path / "state"):
        with (
            pytest.raises(OwnedElsewhere, match=rf"in use by process {os.getpid()}\b") as refused,
            sole_user(tmp_path / "state"),
        ):
            pytest.fail("two users at once")
        assert "PAGESTREAM_STATE_DIRECTORY" in str(refused.value)
    with sole_user(tmp_path / "state"):
        assert (tmp_path / "state").is_dir()


def test_a_state_directory_that_cannot_be_made_is_named() -> None:
    with pytest.raises(ConfigurationError, match="/proc/none"), sole_user(Path("/proc/none")):
        pytest.fail("no directory there")


def test_the_preferred_port_is_taken_unless_somebody_listens() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen()
        assert free_port(port) != port
    assert free_port(port) == port


def test_the_last_line_of_a_log_is_cut_and_never_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n\xff" + b"x" * 1000 + b"\n\n")
    assert last_line(log) == "\N{REPLACEMENT CHARACTER}" + "x" * 299
    log.write_text("")
    assert last_line(log) == "it wrote nothing"
