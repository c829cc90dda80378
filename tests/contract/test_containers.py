"""The containers held to the code: schema, names of settings, roles, images, users, order."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import typer.main
from containers import (
    COMPOSE_FILE,
    ROOT,
    compose,
    dockerfile,
    image_environment,
    our_services,
    services,
)
from servers import KAFKA_IMAGE, POSTGRES_IMAGE

from pagestream.cli.app import app
from pagestream.roles import Role
from runtime.lifecycle import STOP_SECONDS
from runtime.settings import Settings

SETTINGS: Final = {f"PAGESTREAM_{name.upper()}" for name in Settings.model_fields}
BUILD, IMAGE = dockerfile()[1:]


def instructions(name: str) -> list[str]:
    """Return the texts of the image's instructions of one kind."""
    return [each.text for each in IMAGE if each.name == name]


# The Compose file


def checked_by_schema(file: Path) -> subprocess.CompletedProcess[str]:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*check, file], capture_output=True, text=True, check=False)


def test_the_compose_file_is_one() -> None:
    done = checked_by_schema(COMPOSE_FILE)
    assert done.returncode == 0, done.stdout


def test_a_wrong_compose_file_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE_FILE.read_text().replace("healthcheck:", "health_check:"))
    assert checked_by_schema(wrong).returncode == 1


def test_every_role_has_a_service_and_what_must_come_before_it_too() -> None:
    commands = {name: service["command"] for name, service in our_services().items()}
    roles = {role: ["run", role] for role in get_args(Role)}
    assert commands == roles | {"migrate": ["migrate"], "topics": ["topics", "--create"]}


@pytest.mark.parametrize("name", our_services())
def test_every_command_of_a_service_exists(name: str) -> None:
    command: Any = typer.main.get_command(app)
    words = list(our_services()[name]["command"])
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    assert set(words) <= {option for parameter in command.params for option in parameter.opts}


def test_every_variable_of_ours_is_a_setting() -> None:
    named = set(re.findall(r"\bPAGESTREAM_[A-Z_]+", COMPOSE_FILE.read_text()))
    named |= {name for name in image_environment() if name.startswith("PAGESTREAM_")}
    assert named
    assert named <= SETTINGS


def test_a_walker_is_told_nothing_of_the_database() -> None:
    assert "PAGESTREAM_DATABASE" not in our_services()["walker"]["environment"]
    assert "PAGESTREAM_DATABASE" in our_services()["sink"]["environment"]


def test_servers_are_those_that_the_tests_use() -> None:
    assert services()["kafka"]["image"] == KAFKA_IMAGE
    # Alpine's is the same server in a smaller image, with another collation library.
    assert services()["postgres"]["image"] == POSTGRES_IMAGE.removesuffix("-alpine")


def test_no_image_is_whatever_is_newest() -> None:
    images = [service["image"] for service in services().values()]
    images += [each.text.partition("=")[2] for each in dockerfile()[0] if each.name == "ARG"]
    assert [image for image in images if ":" not in image or image.endswith(":latest")] == []


def test_what_is_needed_is_there_before_a_service_starts() -> None:
    done, healthy = "service_completed_successfully", "service_healthy"
    order = {
        name: {needed: how["condition"] for needed, how in service.get("depends_on", {}).items()}
        for name, service in services().items()
    }
    assert order == {
        "kafka": {},
        "postgres": {},
        "migrate": {"postgres": healthy},
        "topics": {"kafka": healthy},
        "walker": {"topics": done},
        "sink": {"topics": done, "migrate": done},
    }
    for conditions in order.values():
        for needed, condition in conditions.items():
            assert ("healthcheck" in services()[needed]) == (condition == healthy)


@pytest.mark.parametrize("name", services())
def test_no_port_is_open_to_other_machines(name: str) -> None:
    ports = services()[name].get("ports", [])
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("role", get_args(Role))
def test_a_role_is_restarted_asked_for_its_health_and_given_time_to_stop(role: Role) -> None:
    service = services()[role]
    assert service["restart"] == "unless-stopped"
    assert float(service["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    asked = service["healthcheck"]["test"]
    assert asked[:3] == ["CMD", "python", "-c"]
    assert f":{image_environment()['PAGESTREAM_HEALTH_PORT']}/readyz" in asked[3]


def test_data_is_on_named_volumes() -> None:
    mounted = [v for service in services().values() for v in service.get("volumes", [])]
    assert {v.partition(":")[0] for v in mounted} == set(compose()["volumes"])
    assert services()["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    where = services()["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert services()["kafka"]["volumes"] == [f"kafka:{where}"]
    state = image_environment()["PAGESTREAM_STATE_DIRECTORY"]
    assert all(service["volumes"] == [f"state:{state}"] for service in our_services().values())


def test_no_password_stands_in_the_file() -> None:
    for value in re.findall(
        r"POSTGRES_PASSWORD: (.+)|pagestream:(\S+?)@", COMPOSE_FILE.read_text()
    ):
        assert "".join(value).startswith("${POSTGRES_PASSWORD:?")


@pytest.mark.parametrize("name", our_services())
def test_our_containers_can_do_little(name: str) -> None:
    service = our_services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


# The Dockerfile


def test_the_image_runs_as_a_user_of_a_fixed_number() -> None:
    (user,) = instructions("USER")
    number, _, group = user.partition(":")
    assert int(number) >= 10_000
    assert int(group) >= 10_000
    assert any(f'"--uid", "{number}"' in text for text in instructions("RUN"))


def test_no_shell_is_started_and_python_looks_for_modules_where_they_are_installed() -> None:
    assert instructions("ENTRYPOINT") == ['["pagestream"]']
    assert all(each.words for each in [*BUILD, *IMAGE] if each.name in {"RUN", "CMD"})
    assert image_environment()["PYTHONSAFEPATH"] == "1"


def test_what_is_installed_is_locked_by_hashes() -> None:
    for each in BUILD:
        if each.name == "RUN" and "install" in each.words:
            assert {"--require-hashes", "--no-index"} & set(each.words), each


def test_the_health_that_is_asked_for_is_served() -> None:
    variables = image_environment()
    assert instructions("EXPOSE") == [variables["PAGESTREAM_HEALTH_PORT"]]
    assert variables["PAGESTREAM_HEALTH_HOST"] == "0.0.0.0"  # noqa: S104 - inside a container
    assert instructions("VOLUME") == [variables["PAGESTREAM_STATE_DIRECTORY"]]


def packages_of(lock: Path) -> dict[str, str]:
    """Return each package of a lock file, with its version and hashes."""
    parts = re.split(r"^(?=\S)", lock.read_text(), flags=re.MULTILINE)
    return {part.partition("==")[0]: part for part in parts if part}


@pytest.mark.parametrize("name", ["build.lock", "run.lock"])
def test_the_image_has_the_versions_that_are_tested(name: str) -> None:
    tested = packages_of(ROOT / "requirements.lock")
    ours = packages_of(ROOT / "deploy" / name)
    assert len(ours) >= 4
    assert {package: tested.get(package) for package in ours} == ours


def test_the_image_has_every_library_that_is_needed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [re.split(r"[\[<>=~]", each)[0] for each in project["project"]["dependencies"]]
    assert set(names) <= set(packages_of(ROOT / "deploy" / "run.lock"))


def test_what_the_wheel_is_made_of_is_sent_to_the_builder() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    sent = re.findall("^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    needed = [*packages, "pyproject.toml", *project["project"]["license-files"]]
    needed += [project["project"]["readme"], "deploy/*.lock"]
    assert sorted(sent) == sorted(needed)
