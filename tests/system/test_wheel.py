"""The wheel alone, as a container has it: every role's entry point from an empty environment."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from containers import ROOT, our_services, services
from fix_services import KafkaCorner
from fix_terminal import wait_for

from pagestream.embedded.datasette import uv
from pagestream.embedded.pip_settings import uv_environment
from pagestream.embedded.processes import free_port

_SENT: Final = [
    line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
]


def run(command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> str:
    """Run a command that must succeed; return what it wrote to stdout."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """Build the wheel from what a container's builder is sent, and from nothing else."""
    source = folder / "source"
    for pattern in _SENT:
        for path in ROOT.glob(pattern):
            (source / pattern).parent.mkdir(parents=True, exist_ok=True)
            (source / path.relative_to(ROOT)).symlink_to(path)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    run([*build, "--directory", folder], source, dict(os.environ))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel and what the image has beside it; return the environment's programs."""
    variables = dict(os.environ)
    variables |= uv_environment(variables, folder / "cache")
    run(
        [uv(), "venv", "--quiet", "--no-project", "--python", sys.executable, "v"],
        folder,
        variables,
    )
    install = [uv(), "pip", "install", "--quiet", "--python", "v"]
    lock = ROOT / "deploy" / "run.lock"
    run([*install, "--require-hashes", "--no-build", "--requirement", lock], folder, variables)
    run([*install, "--no-deps", "--no-index", wheel], folder, variables)
    return folder / "v" / "bin"


class Container:
    """What stands for a container: an installed wheel, an empty folder, and no other variables."""

    def __init__(self, programs: Path, folder: Path, **variables: str) -> None:
        self.programs = programs
        self.folder = folder
        self.environment = variables | {"PATH": str(programs), "PYTHONSAFEPATH": "1"}

    def run(self, *command: str) -> str:
        """Run one of its programs, which must succeed."""
        return run([self.programs / command[0], *command[1:]], self.folder, self.environment)

    def start(self, service: str) -> subprocess.Popen[bytes]:
        """Start what a service of the Compose file starts."""
        command = [self.programs / "pagestream", *services()[service]["command"]]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment)

    def is_healthy(self, service: str, port: int) -> bool:
        """Ask for its health as the Compose file does."""
        python, *arguments = services()[service]["healthcheck"]["test"][1:]
        asked = [self.programs / python, *(each.replace("9100", str(port)) for each in arguments)]
        done = subprocess.run(
            asked, cwd=self.folder, env=self.environment, capture_output=True, check=False
        )
        return done.returncode == 0


@pytest.mark.timeout(400)
def test_the_wheel_alone_serves_every_role(
    tmp_path: Path, kafka: KafkaCorner, database: str
) -> None:
    programs = install(build_wheel(tmp_path), tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    container = Container(
        programs,
        empty,
        PAGESTREAM_KAFKA=kafka.bootstrap,
        PAGESTREAM_TOPIC_PREFIX=kafka.prefix,
        PAGESTREAM_DATABASE=database,
        PAGESTREAM_STATE_DIRECTORY=str(tmp_path / "state"),
    )
    assert container.run("pagestream", "--version").startswith("pagestream 0.")
    assert "PAGESTREAM_WALKER_SLOT" in container.run("pagestream", "run", "walker", "--help")
    where = container.run("python", "-c", "import schemas; print(schemas.__file__)")
    assert where.startswith(str(tmp_path)), "the wheel's own package, not the source tree's"
    assert list(empty.iterdir()) == []
    for name, service in our_services().items():
        if service["restart"] == "no":
            container.run("pagestream", *service["command"])
        else:
            becomes_healthy_and_ends_when_told(container, name)


def becomes_healthy_and_ends_when_told(container: Container, service: str) -> None:
    port = free_port()
    container.environment["PAGESTREAM_HEALTH_PORT"] = str(port)
    assert not container.is_healthy(service, port), "nothing serves yet"
    process = container.start(service)
    try:
        wait_for(lambda: container.is_healthy(service, port) or process.poll() is not None)
        assert process.poll() is None, "it should be running"
        process.send_signal(signal.SIGTERM)
        assert process.wait(float(services()[service]["stop_grace_period"].removesuffix("s"))) == 0
    finally:
        process.kill()
        process.wait()
