"""Settings: what is wrong is named with its variable, and what is secret is never shown."""

import json
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr, ValidationError

from runtime.errors import ConfigurationError
from runtime.settings import Settings, load

SECRET: Final = "correct-horse-battery-staple"  # noqa: S105 - it is there to be looked for

WRONG: Final = [
    ("TOPIC_PREFIX", ""),
    ("TOPIC_PREFIX", "two words"),
    ("TOPIC_PREFIX", "pages\n"),
    ("TOPIC_PREFIX", "x" * 101),
    ("REPLICATION_FACTOR", "-2"),
    ("REPLICATION_FACTOR", "three"),
    ("SOURCE_URL", "https://civic.band"),
    ("SOURCE_URL", "https://civic.band/{subdomain}"),
    ("SOURCE_URL", "https://{subdomain}.civic.band/{subdomain}"),
    ("SOURCE_URL", "{subdomain}.civic.band"),
    ("SOURCE_URL", "ftp://{subdomain}.civic.band"),
    ("SOURCE_URL", ""),
    ("SOURCE_URL", "https://ana:pw@{subdomain}.civic.band"),
    ("SOURCE_URL", "https://{subdomain}@civic.band"),
    ("SOURCE_CONNECT", "localhost"),
    ("SOURCE_CONNECT", ":8001"),
    ("SOURCE_CONNECT", "localhost:"),
    ("SOURCE_CONNECT", "localhost:http"),
    ("SOURCE_CONNECT", "localhost:\u0668"),
    ("SOURCE_CONNECT_TIMEOUT", "0"),
    ("SOURCE_READ_TIMEOUT", "nan"),
    ("SOURCE_DEADLINE", "inf"),
    ("REQUESTS_PER_MINUTE", "0"),
    ("REQUESTS_PER_MINUTE", "-1"),
    ("ROWS_PER_RESPONSE", "0"),
    ("ROWS_PER_RESPONSE", "1001"),
    ("ROWS_PER_RESPONSE", "12.5"),
    ("REQUESTS_AT_ONCE", "0"),
    ("RETRY_WAITS", "1,two"),
    ("RETRY_WAITS", "0"),
    ("RETRY_WAITS", ",".join(["1"] * 21)),
    ("WINDOW_DAYS", "0"),
    ("FULL_EVERY", "0"),
    ("FULL_EVERY", "often"),
    ("INCREMENTAL_EVERY", "-1d"),
    ("VERIFY_EVERY", "11000d"),
    ("VERDICT_TIMEOUT", "-1"),
    ("VERDICT_TIMEOUT", "nan"),
    ("SECOND_LOOK_AFTER", "0"),
    ("WALKER_SLOT", "../walker"),
    ("SINK_SLOT", ""),
    ("SINK_BATCH", "0"),
    ("HEALTH_PORT", "65536"),
    ("HEALTH_PORT", "-1"),
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"),
]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without any of our variables, in an empty directory."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PAGESTREAM_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults_are_right_by_themselves() -> None:
    settings = load()

    assert settings.source_url == "https://{subdomain}.civic.band"
    assert settings.requests_per_minute is None
    assert settings.health_port is None


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_named_with_its_variable_and_a_remedy(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PAGESTREAM_{name}", value)

    with pytest.raises(ConfigurationError) as caught:
        load()
    line = str(caught.value)
    assert line.startswith(f"wrong setting: PAGESTREAM_{name}: ")
    assert "environment" in line
    assert "\n" not in line
    assert caught.value.exit_code == 78


def test_every_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGESTREAM_SINK_BATCH", "many")
    monkeypatch.setenv("PAGESTREAM_LOG_LEVEL", "loud")

    with pytest.raises(ConfigurationError, match=r"SINK_BATCH: .*; PAGESTREAM_LOG_LEVEL: "):
        load()


def test_a_wrong_value_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a secret that was put into the wrong variable."""
    monkeypatch.setenv("PAGESTREAM_SOURCE_CONNECT", SECRET)
    monkeypatch.setenv("PAGESTREAM_SINK_BATCH", SECRET)
    monkeypatch.setenv("PAGESTREAM_SOURCE_URL", f"https://ana:{SECRET}@{{subdomain}}.civic.band")

    with pytest.raises(ConfigurationError) as caught:
        load()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_secrets_are_shown_nowhere() -> None:
    settings = load(
        database=SecretStr(f"postgresql://ana:{SECRET}@db.example/pagestream"),
        source_secret=SecretStr(SECRET),
        maven_url=SecretStr(f"https://ana:{SECRET}@maven.example"),
    )

    shown = [
        repr(settings),
        str(settings),
        f"{settings}",
        str(settings.model_dump()),
        settings.model_dump_json(),
        json.dumps(settings.model_dump(mode="json")),
    ]
    assert not any(SECRET in text for text in shown)
    assert all("**********" in text for text in shown)
    assert settings.source_secret is not None
    assert settings.source_secret.get_secret_value() == SECRET


def test_what_holds_a_password_is_a_secret() -> None:
    secrets = {
        name
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    assert secrets == {"database", "maven_url", "source_secret"}


def test_the_nearest_place_decides(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = bare / "written-by-the-embedded-servers.env"
    names = ("KAFKA", "TOPIC_PREFIX", "WALKER_SLOT", "SINK_SLOT")
    defaults.write_text("".join(f"PAGESTREAM_{name}=file\n" for name in names))
    (bare / ".env").write_text("".join(f"PAGESTREAM_{name}=dotenv\n" for name in names[:3]))
    for name in names[:2]:
        monkeypatch.setenv(f"PAGESTREAM_{name}", "environment")

    settings = load(defaults, kafka="given")

    assert [getattr(settings, name.lower()) for name in names] == [
        "given",
        "environment",
        "dotenv",
        "file",
    ]


def test_a_misspelt_setting_is_refused_with_the_nearest_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PAGESTREAM_SOURCE_SECERT", SECRET)
    monkeypatch.setenv("pagestream_colour", SECRET)

    with pytest.raises(ConfigurationError) as caught:
        load()
    line = str(caught.value)
    assert "PAGESTREAM_SOURCE_SECERT (did you mean PAGESTREAM_SOURCE_SECRET?)" in line
    assert "PAGESTREAM_COLOUR" in line
    assert "environment" in line
    assert SECRET not in line
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("file", [".env", "environment"])
def test_a_misspelt_setting_in_a_file_is_refused(bare: Path, file: str) -> None:
    (bare / file).write_text(f"DJANGO_SECRET=x\nexport PAGESTREAM_KAFAK='{SECRET}'\n")

    with pytest.raises(ConfigurationError, match="did you mean PAGESTREAM_KAFKA") as caught:
        load(bare / "environment")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAGESTREAM_TEST_KAFKA", "elsewhere:9092"),
        ("PAGESTREAM_CRASH_AT", "walker.begun"),
        ("PAGESTREAM_FREEZE_AT", "sink.moved"),
        ("PAGESTREAM_SERVICE_HOST", "10.0.0.1"),
        ("PAGESTREAM_SERVICE_PORT_HEALTH", "80"),
        ("PAGESTREAM_PORT", "tcp://10.0.0.1:80"),
        ("PAGESTREAM_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("PAGESTREAMER", "x"),
    ],
)
def test_variables_of_test_tools_and_of_kubernetes_are_no_mistakes(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert load() == Settings()


def test_a_port_that_is_not_of_kubernetes_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGESTREAM_HELTH_PORT", "9101")
    with pytest.raises(ConfigurationError, match="did you mean PAGESTREAM_HEALTH_PORT"):
        load()


def test_variables_that_are_not_ours_change_nothing(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / ".env").write_text("DJANGO_SECRET=x\n")
    monkeypatch.setenv("KAFKA", "elsewhere:9092")

    assert load() == Settings()
    assert load().kafka == "127.0.0.1:9092"


def test_settings_do_not_change_once_read() -> None:
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.kafka = "elsewhere:9092"  # type: ignore[misc]  # that it is refused is the test


def test_addresses_are_tidied() -> None:
    assert load(source_url="http://{subdomain}.localhost:8001/").source_url.endswith(":8001")
    assert load(source_connect="").source_connect is None
    assert load(source_connect="[::1]:8001").source_connect == "[::1]:8001"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is_for(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description[0].isupper() or description.startswith("host:port")
    assert description.endswith(".")


def test_rhythms_and_waits_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGESTREAM_RETRY_WAITS", "0.5,3")
    monkeypatch.setenv("PAGESTREAM_FULL_EVERY", "never")
    monkeypatch.setenv("PAGESTREAM_INCREMENTAL_EVERY", "12h")
    settings = load()
    assert settings.retry_waits == (0.5, 3.0)
    assert (settings.full_every, settings.incremental_every) == (None, 43_200.0)
    monkeypatch.setenv("PAGESTREAM_RETRY_WAITS", "")
    assert load().retry_waits == ()


def test_a_named_secret_is_no_unknown_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGESTREAM_SECRET_OAKLAND", SECRET)
    assert SECRET not in repr(load())
