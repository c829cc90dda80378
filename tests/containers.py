"""Reads deploy/Dockerfile and docker-compose.yml, for tests that hold them to the code."""

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from ruamel.yaml import YAML

ROOT: Final = Path(__file__).parents[1]
COMPOSE_FILE: Final = ROOT / "docker-compose.yml"
BUILT_IMAGE: Final = "pagestream:local"


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, its lines joined: `RUN`, and what follows it."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its words in exec form; ValueError when it is one for a shell."""
        words: list[str] = json.loads(self.text)
        return words


def dockerfile() -> list[list[Instruction]]:
    """Return the stages of the Dockerfile, the last is the image; before the first FROM is none."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[list[Instruction]] = [[]]
    for line in filter(str.strip, text.splitlines()):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, " ".join(rest.split())))
    return stages


def image_environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    lines = [each.text for each in dockerfile()[-1] if each.name == "ENV"]
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def compose() -> dict[str, Any]:
    """Return the Compose file, with its merges done."""
    content: dict[str, Any] = YAML(typ="safe").load(COMPOSE_FILE)
    return content


def services() -> dict[str, dict[str, Any]]:
    """Return the services of the Compose file, by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def our_services() -> dict[str, dict[str, Any]]:
    """Return those that run our image."""
    return {n: service for n, service in services().items() if service["image"] == BUILT_IMAGE}
