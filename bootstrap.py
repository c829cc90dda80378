"""Make what the Makefile's targets need: everything in requirements.lock, in .venv.

Run by any Python from 3.11 on, with nothing installed: `python3 bootstrap.py`.

1. Done before, for this lock file and this Python? Then that is all.
2. Wait until no other bootstrap is at work in this directory.
3. Unless .venv is there, of this Python and with uv: make it, and install uv into it with pip, by
   the hashes in the lock file.
4. With uv install the rest of the lock file, by its hashes, and this project as it lies here.
5. Leave the stamp that step 1 looks for.

Nothing is built from source and nothing unlocked is fetched. Indexes, mirrors and certificates of
the user's pip hold for uv too. An active virtual environment, PYTHONPATH and pip's own settings of
where to install are of no consequence.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - read by older ones too; this is what tells them
    sys.exit(
        f"pagestream needs Python 3.11 or newer; {sys.executable} is "
        f"{sys.version_info[0]}.{sys.version_info[1]}. Name a newer one: make PYTHON=python3.11"
    )

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from pagestream.embedded.pip_settings import (  # noqa: E402 - only now it can be found
    pip_settings,
    system_certificates,
    uv_environment,
)

LOCK = ROOT / "requirements.lock"
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
UV = ENVIRONMENT / "bin" / "uv"
STAMP = ENVIRONMENT / ".bootstrapped"

# What would send pip, uv or Python elsewhere than to ENVIRONMENT.
MISLEADING = frozenset(
    {
        *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV", "CONDA_PREFIX"),
        *("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON"),
        *("UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_TARGET", "UV_PREFIX", "UV_PROJECT_ENVIRONMENT"),
    }
)


def main() -> None:
    """Bring .venv up to date; exit with one line for a person when that cannot be done."""
    if is_done():
        return
    with alone():
        if not is_done():
            make()


def is_done() -> bool:
    """Tell whether .venv is what the lock file says."""
    try:
        return STAMP.read_text() == wanted_stamp()
    except OSError:
        return False


def wanted_stamp() -> str:
    """Return what the stamp holds when nothing is left to do."""
    digest = hashlib.sha256()
    for path in (LOCK, ROOT / "pyproject.toml", Path(__file__)):
        digest.update(path.read_bytes())
    # The real path: an upgrade of the system's Python can leave a working link to a wrong one.
    return f"{digest.hexdigest()} {sys.version} {PYTHON.resolve(strict=True)}"


@contextmanager
def alone() -> Iterator[None]:
    """Hold this directory against other bootstraps; waits for them."""
    directory = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another bootstrap in this directory")
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def make() -> None:
    """Make or mend .venv, and stamp it."""
    say("making ready what requirements.lock lists, in .venv")
    STAMP.unlink(missing_ok=True)
    variables = clean_variables()
    if not is_ours(variables):
        pip = find_pip(variables)
        create(with_pip=pip is None, variables=variables)
        install_uv(pip or [str(PYTHON), "-m", "pip"], variables)
    variables |= uv_environment(variables, ENVIRONMENT / ".cache")
    say("installing the rest")
    uv(["sync", "--require-hashes", "--no-build", str(LOCK)], variables)
    uv(["install", "--no-deps", "--no-build-isolation", "--quiet", "-e", str(ROOT)], variables)
    STAMP.write_text(wanted_stamp())
    say("ready")


def clean_variables() -> dict[str, str]:
    """Return the environment variables for pip and uv."""
    kept = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    return kept | {"PYTHONSAFEPATH": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def outer_python() -> str:
    """Return the Python that runs this, outside of any virtual environment: .venv may be ours."""
    return str(getattr(sys, "_base_executable", sys.executable))


def find_pip(variables: dict[str, str]) -> list[str] | None:
    """Return the command of a pip that installs into .venv from outside it, None without one."""
    for python in dict.fromkeys((outer_python(), sys.executable)):
        pip = [python, "-m", "pip", "--python"]
        if not python.startswith(str(ENVIRONMENT)) and succeeds([*pip, python, "-V"], variables):
            return [*pip, str(PYTHON)]
    return None


def is_ours(variables: dict[str, str]) -> bool:
    """Tell whether .venv is there, of this very Python, and has a uv to go on with."""
    check = f"import sys; sys.exit(sys.version != {sys.version!r} or sys.prefix == sys.base_prefix)"
    commands = ([str(PYTHON), "-I", "-c", check], [str(UV), "--version"])
    return all(succeeds(command, variables) for command in commands)


def create(*, with_pip: bool, variables: dict[str, str]) -> None:
    """Make .venv anew; Debian's Python may lack the part that brings pip."""
    missing = [part for part in ("venv", "ensurepip") if importlib.util.find_spec(part) is None]
    if "venv" in missing or (with_pip and missing):
        stop(
            "this Python has neither pip nor the means to get it. Install one of them "
            "(Debian, Ubuntu: apt install python3-venv) and run this again."
        )
    say(f"making .venv with Python {sys.version.split()[0]}")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    options = [] if with_pip else ["--without-pip"]
    run([outer_python(), "-m", "venv", *options, str(ENVIRONMENT)], variables)


def install_uv(pip: list[str], variables: dict[str, str]) -> None:
    """Install the locked uv with pip."""
    pinned = locked("uv")
    version = pinned.split("==", 1)[1].split()[0]
    say(f"installing uv {version}")
    only_uv = ENVIRONMENT / "uv.lock"
    only_uv.write_text(pinned)
    options = ["--retries=2", "--no-user", "--no-deps", "--require-hashes"]
    command = [*pip, "install", *options, "--requirement", str(only_uv)]
    run(command, variables | pip_variables(variables))
    only_uv.unlink()


def locked(package: str) -> str:
    """Return a package's lines of the lock file: its version and its hashes."""
    lines = LOCK.read_text().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{package}=="))
    end = next((i for i in range(start + 1, len(lines)) if not lines[i].startswith(" ")), None)
    return "".join(lines[start:end])


def pip_variables(variables: dict[str, str]) -> dict[str, str]:
    """Return what makes an older pip trust the system's certificates, as newer ones do."""
    known = system_certificates()
    if known is None or "cert" in pip_settings(variables):
        return {}
    return {"PIP_CERT": str(known)}


def uv(arguments: Sequence[str], variables: dict[str, str]) -> None:
    """Run one of `uv pip`'s commands on .venv."""
    command, *rest = arguments
    run([str(UV), "pip", command, "--python", str(PYTHON), *rest], variables)


def run(command: Sequence[str], variables: dict[str, str]) -> None:
    """Run a command whose output the user sees; its failure ends this program."""
    if subprocess.run(command, env=variables, stdout=sys.stderr, check=False).returncode != 0:
        stop(
            "the last step failed, for the reason above. If the package index cannot be reached: "
            "check the network, or tell pip of your proxy, mirror or certificates "
            "(pip config set global.index-url ..., global.cert ...), and run this again."
        )


def succeeds(command: Sequence[str], variables: dict[str, str]) -> bool:
    """Run a command silently; tell whether it is there and ended well."""
    try:
        ended = subprocess.run(command, env=variables, capture_output=True, check=False)
    except OSError:
        return False
    return ended.returncode == 0


def say(text: str) -> None:
    """Show a line of progress; standard output is left to the command that follows."""
    sys.stderr.write(f"bootstrap: {text}\n")
    sys.stderr.flush()


def stop(text: str) -> NoReturn:
    """End with one line for a person."""
    sys.exit(f"bootstrap: {text}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
