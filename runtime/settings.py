"""Every setting, in one place: read from the environment, checked at start, masked when shown."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from runtime.durations import LONGEST_SECONDS, parse_every
from runtime.errors import ConfigurationError

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Port = Annotated[int, Field(ge=0, le=65_535)]


def _every(value: object) -> object:
    return parse_every(value) if isinstance(value, str) else value


Every = Annotated[
    Annotated[float, Field(gt=0, le=LONGEST_SECONDS)] | None,
    BeforeValidator(_every),
    WithJsonSchema({"type": "string", "format": "span"}),
]
"""Seconds between two times of something, None for never; written as `runtime.durations` says."""

_PREFIX: Final = "PAGESTREAM_"
# Read elsewhere, by tests and their tools: they are no settings, and no mistakes either.
_NO_SETTINGS: Final = re.compile(
    r"PAGESTREAM_(TEST_\w+|CRASH_AT|FREEZE_AT)"
    # A site's own service secret, under the name that its record gives.
    r"|PAGESTREAM_SECRET_\w+"
    # What Kubernetes gives every container beside a service whose name begins like ours.
    r"|\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?"
)
_KUBERNETES_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://.*")


class Settings(BaseSettings):
    """The settings of a process: environment variables `PAGESTREAM_<NAME>`, or a `.env` file.

    Every field's description is what the documentation and `pagestream doctor` say of it.
    """

    model_config = SettingsConfigDict(
        env_prefix="PAGESTREAM_", env_file=".env", extra="ignore", frozen=True
    )

    kafka: str = Field(
        "127.0.0.1:9092", description="Kafka's bootstrap servers, host:port, comma-separated."
    )
    topic_prefix: str = Field(
        "pagestream",
        pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}$",
        description="What every topic and consumer group name begins with.",
    )
    replication_factor: int = Field(
        -1, ge=-1, le=32_767, description="Replicas of a topic at its creation; -1: the broker's."
    )
    database: SecretStr = Field(
        SecretStr("postgresql://127.0.0.1:5432/pagestream"),
        description="PostgreSQL's connection string. It holds a password: it is never shown.",
    )
    source_url: str = Field(
        "https://{subdomain}.civic.band",
        description="Where a site is served; {subdomain} stands for the site's name.",
    )
    source_connect: str | None = Field(
        None,
        description="host:port to connect to instead of the host in source_url, which is still "
        "the one that is asked for.",
    )
    source_secret: SecretStr | None = Field(
        None, description="The service secret, sent as X-Service-Secret; lifts the request limit."
    )
    secrets_directory: Path | None = Field(
        None,
        description="Folder whose files are secrets, each under its name: what `pagestream sites "
        "add --secret NAME` names. PAGESTREAM_SECRET_<NAME> does the same.",
    )
    source_private: bool = Field(
        False,
        description="Whether sites may be served from private addresses. Loopback may always, "
        "where source_url or source_connect itself names it.",
    )
    source_connect_timeout: Seconds = Field(30, description="Seconds to connect to the source.")
    source_read_timeout: Seconds = Field(30, description="Seconds between two reads of a response.")
    source_deadline: Seconds = Field(120, description="Seconds for one whole request.")
    requests_per_minute: float | None = Field(
        None,
        gt=0,
        le=60_000,
        description="Requests a minute to all sites together. Unset: 14 without a secret, and no "
        "limit with one or where the source itself is on loopback.",
    )
    rows_per_response: int = Field(
        1000, ge=1, le=1000, description="Rows asked for in one request of a walk."
    )
    requests_at_once: int = Field(
        64,
        ge=1,
        le=256,
        description="Requests that one walker has in flight at the same time. With fewer than 64, "
        "sites that do not answer can delay others.",
    )
    retry_waits: Annotated[tuple[Seconds, ...], NoDecode] = Field(
        (1.0, 2.0, 4.0),
        max_length=20,
        description="Seconds to wait before each further try at a step that failed, "
        "comma-separated; after the last the walk has failed.",
    )
    window_days: int = Field(
        180,
        ge=1,
        le=36_500,
        description="Days before and after today that an incremental walk covers, by date.",
    )
    full_every: Every = Field(
        90 * 86_400.0,
        description="How often a table is walked in full, where its own schedule does not say: "
        "90d, 12h, never.",
    )
    incremental_every: Every = Field(
        86_400.0,
        description="How often a table is walked incrementally, where its own schedule does not "
        "say; in full as long as no full walk was verified.",
    )
    verify_every: Every = Field(
        7 * 86_400.0,
        description="How often a table's ids are compared with the source's, where its own "
        "schedule does not say.",
    )
    verdict_timeout: float = Field(
        0,
        ge=0,
        le=7 * 86_400,
        description="Seconds that a walk waits for its verdict; 0: no reconciler runs, and a walk "
        "ends as unverified.",
    )
    second_look_after: Seconds = Field(
        3600, description="Seconds until a table whose verdict is held is listed again."
    )
    walker_slot: str = Field(
        "walker-1",
        pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}$",
        description="This walker's stable name: one live process each, and each its own.",
    )
    sink_slot: str = Field(
        "sink-1",
        pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}$",
        description="This sink's stable name: one live process each, and each its own.",
    )
    sink_batch: int = Field(
        2000, ge=1, le=100_000, description="Records that the sink writes in one transaction."
    )
    state_directory: Path = Field(
        Path(".pagestream"),
        description="Where the embedded servers keep their data, and processes their locks.",
    )
    maven_url: SecretStr | None = Field(
        None,
        description="Maven repository to take the embedded Kafka from. It may hold a password: it "
        "is never shown. Unset: Maven Central.",
    )
    health_host: str = Field(
        "127.0.0.1", description="Address on which a role serves its metrics and health."
    )
    health_port: Port | None = Field(
        None, description="Port of a role's /metrics, /healthz and /readyz. Unset: not served."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe log line that is written."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="Log lines for people (text) or machines (json); auto: by the terminal."
    )

    @field_validator("retry_waits", mode="before")
    @classmethod
    def _is_comma_separated(cls, value: object) -> object:
        return [part for part in value.split(",") if part] if isinstance(value, str) else value

    @field_validator("source_url")
    @classmethod
    def _names_the_site_in_its_host(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        host = rest.partition("/")[0]
        if not separator or scheme not in {"http", "https"}:
            raise ValueError("must begin with http:// or https://")
        if "{subdomain}" not in host or rest.count("{") != 1 or rest.count("}") != 1:
            raise ValueError("must hold {subdomain} once, in the host")
        if "@" in host:
            raise ValueError("must not hold a user or a password: it is written to logs")
        return url.rstrip("/")

    @field_validator("source_connect")
    @classmethod
    def _is_host_and_port(cls, address: str | None) -> str | None:
        if address is None or address == "":
            return None
        host, separator, port = address.rpartition(":")
        if not host or not separator or not port.isascii() or not port.isdecimal():
            raise ValueError("must be host:port")
        return address


def load(defaults: Path | None = None, **given: Any) -> Settings:
    """Return the effective settings; ConfigurationError names each one that is wrong or unknown.

    The first that has a setting decides: `given`, the environment, `.env`, the file `defaults`.
    """
    files = (Path(".env"),) if defaults is None else (defaults, Path(".env"))
    _check_names(files)
    try:
        return Settings(_env_file=files, **given)
    except ValidationError as error:
        wrong = "; ".join(
            f"{_PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(
            f"wrong setting: {wrong}", remedy="correct it in the environment or in .env"
        ) from None


def _check_names(files: Iterable[Path]) -> None:
    """Raise ConfigurationError for a variable that begins like ours and is no setting.

    A misspelt one would leave its setting at the default, without a word. Values are never said.
    """
    sources = [EnvSettingsSource(Settings)]
    sources += [DotEnvSettingsSource(Settings, env_file=file) for file in files]
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    given = {name.upper(): value for source in sources for name, value in source.env_vars.items()}
    unknown = [
        name
        for name, value in sorted(given.items())
        if name.startswith(_PREFIX) and name not in known and not _is_read_elsewhere(name, value)
    ]
    if unknown:
        raise ConfigurationError(
            f"unknown setting: {'; '.join(_with_nearest(name, known) for name in unknown)}",
            remedy="correct or remove it in the environment or in .env; docs/settings.md lists all",
        )


def _is_read_elsewhere(name: str, value: str | None) -> bool:
    if _NO_SETTINGS.fullmatch(name):
        return True
    return name.endswith("_PORT") and _KUBERNETES_ADDRESS.fullmatch(value or "") is not None


def _with_nearest(name: str, known: Iterable[str]) -> str:
    nearest = get_close_matches(name, sorted(known), n=1)
    return f"{name} (did you mean {nearest[0]}?)" if nearest else name
