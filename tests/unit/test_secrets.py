"""Sites' own secrets: where they are found, who gets them, and that nobody sees them."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from fix_http import client
from fix_scripted_source import Scripted, answer, hang_up
from structlog.testing import capture_logs

import runtime.http
from runtime.errors import SourceError
from runtime.secrets import Secrets, is_secret_name
from runtime.settings import Settings

VALUE = "correct-horse-battery"
ELSE = "everybodys-own-secret"


def secrets(directory: Path | None = None) -> Secrets:
    return Secrets(Settings(_env_file=None, secrets_directory=directory))


def named(name: str, directory: Path | None = None) -> str:
    return secrets(directory).named(name).get_secret_value()


def lacking(name: str, directory: Path | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        named(name, directory)
    assert caught.value.reason == "refused"
    return str(caught.value)


@pytest.fixture(autouse=True)
def _somewhere_else(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


class TestPlaces:
    def test_are_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PAGESTREAM_SECRET_OAKLAND_2", VALUE)
        assert named("oakland_2") == VALUE

    def test_are_the_file_of_the_settings(self) -> None:
        Path(".env").write_text(f"PAGESTREAM_SECRET_OAKLAND={VALUE}\n")
        assert named("oakland") == VALUE

    def test_are_files(self, tmp_path: Path) -> None:
        for end in ("", "\n", "\r\n"):
            (tmp_path / "oakland").write_bytes(VALUE.encode() + end.encode())
            assert named("oakland", tmp_path) == VALUE

    def test_are_links_to_files_as_mounted_ones_are(self, tmp_path: Path) -> None:
        (tmp_path / "..data").mkdir()
        (tmp_path / "..data" / "oakland").write_text(VALUE)
        (tmp_path / "oakland").symlink_to(Path("..data") / "oakland")
        assert named("oakland", tmp_path) == VALUE

    def test_are_looked_at_in_turn(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "oakland").write_text("by file")
        Path(".env").write_text("PAGESTREAM_SECRET_OAKLAND=by-dotenv\n")
        monkeypatch.setenv("PAGESTREAM_SECRET_OAKLAND", "by-environment")
        assert named("oakland", tmp_path) == "by-environment"
        monkeypatch.delenv("PAGESTREAM_SECRET_OAKLAND")
        assert named("oakland", tmp_path) == "by-dotenv"
        Path(".env").unlink()
        assert named("oakland", tmp_path) == "by file"

    def test_are_looked_at_each_time(self, tmp_path: Path) -> None:
        kept = secrets(tmp_path)
        for value in ("first", "second"):
            (tmp_path / "oakland").write_text(value)
            assert kept.named("oakland").get_secret_value() == value


class TestLack:
    def test_says_what_to_set(self, tmp_path: Path) -> None:
        for directory in (None, tmp_path):
            said = lacking("oakland", directory)
            assert "PAGESTREAM_SECRET_OAKLAND" in said
            assert "PAGESTREAM_SECRETS_DIRECTORY" in said

    def test_is_what_is_no_plain_file(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "bytes").write_bytes(b"\xff\xfe")
        for name in ("folder", "pipe", "bytes"):
            assert "not to be found" in lacking(name, tmp_path)
        writer = os.open(tmp_path / "pipe", os.O_RDWR)
        try:
            assert "not to be found" in lacking("pipe", tmp_path)
        finally:
            os.close(writer)

    @pytest.mark.parametrize("end", ["\nb", "\n\n", " ", "ü", "\0", "\r\nX-Evil: 1"])
    def test_is_what_no_header_can_carry(self, tmp_path: Path, end: str) -> None:
        (tmp_path / "oakland").write_bytes((VALUE + end).encode())
        said = lacking("oakland", tmp_path)
        assert "no header can carry" in said
        assert VALUE not in said

    @pytest.mark.parametrize("value", ["", "\n"])
    def test_is_what_is_empty(self, tmp_path: Path, value: str) -> None:
        (tmp_path / "oakland").write_text(value)
        assert "not to be found" in lacking("oakland", tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../outside",
        "inside/../../outside",
        "/etc/hostname",
        "a/b",
        "a\\b",
        "a\0",
        "a\n",
        "Oakland",
        "oakland-ca",
        "oakland.ca",
        "_oakland",
        "öakland",
        "٣",
        "%2e%2e",
        "a" * 65,
        "$(id)",
        "sk_LIVE_51H",
    ],
)
def test_no_other_name_leads_anywhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text(VALUE)
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    assert not is_secret_name(name)
    said = lacking(name, folder)
    assert len(name) < 3 or name not in said


@pytest.mark.parametrize("name", ["a", "0", "oakland", "oakland_ca", "x" * 64])
def test_names_are_plain(name: str) -> None:
    assert is_secret_name(name)


class TestRequests:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "oakland").write_text(VALUE + "\n")
        return tmp_path

    def test_carry_the_sites_own_instead_of_everybodys(
        self, scripted: Scripted, folder: Path
    ) -> None:
        source = scripted.start(answer("{}"))
        settings: dict[str, Any] = {"source_secret": ELSE, "secrets_directory": folder}
        with client(source_url=source.source_url, **settings) as http:
            http.get("oakland.ca", "/", {}, secret="oakland")  # noqa: S106 - a name
            http.get("alameda.ca", "/", {})
        assert [asked.headers["X-Service-Secret"] for asked in source.asked] == [VALUE, ELSE]

    def test_are_not_made_without_it(self, scripted: Scripted, folder: Path) -> None:
        source = scripted.start(answer("{}"))
        settings: dict[str, Any] = {"source_secret": ELSE, "secrets_directory": folder}
        with client(source_url=source.source_url, **settings) as http:
            for name in ("alameda", "../oakland"):
                with pytest.raises(SourceError) as caught:
                    http.get("oakland.ca", "/", {}, secret=name)
                assert caught.value.reason == "refused"
        assert source.asked == []

    def test_do_not_carry_it_in_the_open(
        self, scripted: Scripted, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runtime.http, "is_loopback", lambda _: False)
        source = scripted.start(answer("{}"))
        with (
            capture_logs() as logs,
            client(
                source_url=source.source_url, secrets_directory=folder, source_private=True
            ) as http,
        ):
            for _ in range(2):
                http.get("oakland.ca", "/", {}, secret="oakland")  # noqa: S106 - a name
            assert not http.carries_secret("oakland")
        assert [log["event"] for log in logs] == ["secret_withheld"]
        assert VALUE not in str(logs)
        assert all("X-Service-Secret" not in asked.headers for asked in source.asked)

    def test_show_it_to_nobody(
        self, scripted: Scripted, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        source = scripted.start(answer("{}"), answer(status=500), hang_up())
        shown = []
        with client(source_url=source.source_url, secrets_directory=folder) as http:
            shown += [repr(http), str(vars(http)), str(vars(http._secrets))]  # noqa: SLF001 - what a traceback could show
            for _ in range(3):
                try:
                    shown.append(repr(http.get("oakland.ca", "/", {}, secret="oakland")))  # noqa: S106 - a name
                except SourceError as error:
                    shown += [repr(error), str(error), str(error.received)]
        assert len(source.asked) == 3
        assert all(asked.headers["X-Service-Secret"] == VALUE for asked in source.asked)
        assert VALUE not in caplog.text + "".join(shown)
