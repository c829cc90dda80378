"""The bootstrap's decisions; that it works end to end is what every run of the tests shows."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The bootstrap, at work on a directory of the test's own."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    places = {"ROOT": "", "LOCK": "requirements.lock", "ENVIRONMENT": ".venv"}
    places |= {"PYTHON": ".venv/bin/python", "STAMP": ".venv/.bootstrapped"}
    for name, place in places.items():
        monkeypatch.setattr(module, name, tmp_path / place)
    return module


def test_an_old_python_can_read_it_far_enough_to_say_no() -> None:
    source = (ROOT / "bootstrap.py").read_text()
    tree = ast.parse(source, feature_version=(3, 7))
    docstring, first_import, refusal, *_ = tree.body
    assert isinstance(docstring, ast.Expr)
    assert ast.unparse(first_import) == "import sys"
    assert "sys.exit" in ast.unparse(refusal)


def test_it_is_done_only_for_this_lock_file(bootstrap: ModuleType) -> None:
    assert not bootstrap.is_done()
    bootstrap.STAMP.write_text(bootstrap.wanted_stamp())
    assert bootstrap.is_done()
    with bootstrap.LOCK.open("a") as lock:
        lock.write("# a change\n")
    assert not bootstrap.is_done()


def test_it_is_not_done_without_a_python(bootstrap: ModuleType) -> None:
    bootstrap.STAMP.write_text(bootstrap.wanted_stamp())
    bootstrap.PYTHON.unlink()
    bootstrap.PYTHON.symlink_to("/nowhere/python")
    assert not bootstrap.is_done()


def test_uv_is_installed_by_the_locked_hashes(bootstrap: ModuleType) -> None:
    first, *hashes = bootstrap.locked("uv").splitlines()
    assert first.startswith("uv==")
    assert all(line.strip().startswith("--hash=sha256:") for line in hashes)
    assert len(hashes) > 1


def test_nothing_sends_the_installers_elsewhere(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in bootstrap.MISLEADING:
        monkeypatch.setenv(name, "/elsewhere")
    assert "/elsewhere" not in bootstrap.clean_variables().values()


def test_without_pip_and_ensurepip_it_says_what_to_install(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = importlib.util.find_spec
    monkeypatch.setattr(
        bootstrap.importlib.util,
        "find_spec",
        lambda name: None if name == "ensurepip" else present(name),
    )
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        bootstrap.create(with_pip=True, variables={})


def test_a_failed_step_ends_with_a_remedy(bootstrap: ModuleType) -> None:
    with pytest.raises(SystemExit, match="check the network, or tell pip of your proxy"):
        bootstrap.run([sys.executable, "-c", "raise SystemExit(2)"], dict(os.environ))


def test_a_second_bootstrap_waits_for_the_first(bootstrap: ModuleType) -> None:
    try_lock = f"""
import fcntl, os
directory = os.open({str(bootstrap.ROOT)!r}, os.O_RDONLY)
fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
    command = [sys.executable, "-c", try_lock]
    with bootstrap.alone():
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "BlockingIOError" in refused.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_bare_make_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:"))
    listed = subprocess.run(
        ["make", "--no-print-directory"],  # noqa: S607 - the make that the user has
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line.split()[1] for line in listed.stdout.splitlines()]
    assert sorted(names) == sorted(phony.split()[1:])
    assert {"demo", "test", "lint", "up", "lock", "clean"} <= set(names)
