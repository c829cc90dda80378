"""The file by which other commands find the servers of a running `pagestream up`."""

import stat
import subprocess
from pathlib import Path

import pytest

from pagestream.environment import FILE_NAME, effective_settings, in_force, published
from runtime.errors import ConfigurationError

VARIABLES = {
    "PAGESTREAM_KAFKA": "127.0.0.1:1234",
    "PAGESTREAM_DATABASE": "postgresql://me:it's%20secret@127.0.0.1:5432/pagestream",
    "PAGESTREAM_SOURCE_URL": "http://{subdomain}.localhost:8001",
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAGESTREAM_STATE_DIRECTORY", str(tmp_path / "state"))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


def test_a_running_up_gives_the_settings(state: Path) -> None:
    with published(state, VARIABLES) as path:
        settings, found = effective_settings()
        assert found == path
        assert settings.kafka == "127.0.0.1:1234"
        assert settings.database.get_secret_value() == VARIABLES["PAGESTREAM_DATABASE"]
        assert settings.source_url == VARIABLES["PAGESTREAM_SOURCE_URL"]
    assert effective_settings()[1] is None


def test_only_its_owner_may_read_it(state: Path) -> None:
    with published(state, VARIABLES) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_left_over_is_not_used(state: Path) -> None:
    with published(state, VARIABLES) as path:
        left_over = path.read_text()
        assert in_force(state) == path
    (state / FILE_NAME).write_text(left_over)
    assert in_force(state) is None
    assert effective_settings()[0].kafka == "127.0.0.1:9092"


@pytest.mark.parametrize("name", ["PAGESTREAM_KAFKA", "PAGESTREAM_DATABASE"])
def test_whoever_names_a_server_means_another_installation(
    state: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "elsewhere:1")
    with published(state, VARIABLES):
        settings, found = effective_settings()
    assert found is None
    assert settings.source_url == "https://{subdomain}.civic.band"


def test_other_settings_of_ones_own_still_count(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGESTREAM_SOURCE_URL", "https://{subdomain}.example.org")
    with published(state, VARIABLES):
        settings, found = effective_settings()
    assert found is not None
    assert settings.source_url == "https://{subdomain}.example.org"


def test_a_directory_without_a_file_gives_nothing(tmp_path: Path) -> None:
    assert in_force(tmp_path / "nowhere") is None


def test_a_shell_reads_the_same(state: Path) -> None:
    with published(state, VARIABLES) as path:
        command = f'. "{path}"; printf %s "$PAGESTREAM_DATABASE"'
        read = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, check=True
        )
    assert read.stdout == VARIABLES["PAGESTREAM_DATABASE"]


@pytest.mark.parametrize("name", ["a\\b", "it's $5", "two\nlines", "'`"])
def test_what_cannot_be_written_for_both_is_refused(state: Path, name: str) -> None:
    with (
        pytest.raises(ConfigurationError, match="plainer name"),
        published(state, {"PAGESTREAM_STATE_DIRECTORY": name}),
    ):
        pass
    assert in_force(state) is None
