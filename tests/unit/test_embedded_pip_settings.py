"""What pip is told holds for uv as well."""

from pathlib import Path

import pytest

from pagestream.embedded import pip_settings
from pagestream.embedded.pip_settings import uv_environment


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pip_settings, "_MACHINE_FILE", tmp_path / "none")
    monkeypatch.setattr(pip_settings.sys, "prefix", str(tmp_path / "none"))
    monkeypatch.setattr(pip_settings, "system_certificates", lambda: None)


def configure(home: Path, text: str) -> dict[str, str]:
    (home / ".config" / "pip" / "pip.conf").write_text(text)
    return {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "none")}


def test_a_private_index_with_its_certificate(home: Path) -> None:
    environment = configure(
        home,
        """
        [global]
        index-url = https://pip.example/simple%2F
        extra-index-url =
            https://one.example/simple
            https://two.example/simple
        cert = /etc/private.pem
        trusted_host = pip.example
        find-links = /a /b
        timeout = 90
        proxy = http://proxy.example:3128
        """.replace("\n        ", "\n"),
    )
    assert uv_environment(environment, home) == {
        "UV_INDEX_URL": "https://pip.example/simple%2F",
        "UV_EXTRA_INDEX_URL": "https://one.example/simple https://two.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "SSL_CERT_FILE": "/etc/private.pem",
        "UV_INSECURE_HOST": "pip.example",
        "UV_FIND_LINKS": "/a,/b",
        "UV_HTTP_TIMEOUT": "90",
        "HTTP_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }


def test_nearer_settings_win(home: Path) -> None:
    environment = configure(home, "[global]\nindex-url = a\n[install]\nindex-url = b\n")
    assert uv_environment(environment, home)["UV_INDEX_URL"] == "b"
    (home / "more.conf").write_text("[global]\nindex-url = c\n")
    environment["PIP_CONFIG_FILE"] = str(home / "more.conf")
    assert uv_environment(environment, home)["UV_INDEX_URL"] == "c"
    environment["PIP_INDEX_URL"] = "d"
    assert uv_environment(environment, home)["UV_INDEX_URL"] == "d"
    environment["UV_INDEX_URL"] = "e"
    assert "UV_INDEX_URL" not in uv_environment(environment, home)


def test_a_configuration_that_is_switched_off_or_broken_says_nothing(home: Path) -> None:
    environment = configure(home, "[global]\nindex-url = a\n")
    assert uv_environment(environment | {"PIP_CONFIG_FILE": "/dev/null"}, home) == {}
    assert uv_environment(configure(home, "no section\n"), home) == {}


def test_the_systems_certificates_are_trusted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_settings, "system_certificates", lambda: Path("/etc/ssl/all.pem"))
    assert uv_environment(configure(home, ""), home) == {"UV_SYSTEM_CERTS": "true"}


def test_a_user_without_a_cache_gets_one(home: Path) -> None:
    environment = {"PIP_CONFIG_FILE": "/dev/null", "HOME": "/proc/none"}
    assert uv_environment(environment, home) == {"UV_CACHE_DIR": str(home / "uv")}
