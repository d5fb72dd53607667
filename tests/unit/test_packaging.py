"""What a user gets: the lock, the wheel, and nothing of the machine it was made on."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import watcher

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
UV = Path(sys.executable).with_name("uv")

# Put together here, so that this file does not name them either.
REGISTRY_HOSTS = re.compile(
    "|".join(
        re.escape(".".join(host))
        for host in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("registry", "npmjs", "org"),
            ("registry", "yarnpkg", "com"),
            ("proxy", "golang", "org"),
            ("sum", "golang", "org"),
            ("static", "crates", "io"),
            ("index", "crates", "io"),
            ("repo", "maven", "apache", "org"),
            ("repo1", "maven", "org"),
        )
    )
)


LEFTOVERS = ("clients/python/.venv/pyvenv.cfg", "clients/python/__pycache__/watch.pyc", "run-1/journal.jsonl")


def locked(lock: str) -> dict[str, str]:
    """Name to version; a pin without a hash is an error."""
    pins: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", lock.strip()):
        pin = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", block)
        assert pin, f"no pin: {block[:80]}"
        assert "--hash=sha256:" in block, f"no hash: {pin[0]}"
        pins[canonicalize_name(pin[1])] = pin[2]
    return pins


def unsatisfied(requirements: Iterable[str], pins: Mapping[str, str]) -> list[str]:
    """The requirements that the pins leave out or contradict."""
    wanted = map(Requirement, requirements)
    return [str(one) for one in wanted if not one.specifier.contains(pins.get(canonicalize_name(one.name), "0.dev0"))]


def tracked_files() -> Iterator[Path]:
    """What is in the repository; without git, all that is no product of a build."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        yield from (file for name in listed.stdout.split("\0") if name and (file := ROOT / name).is_file())
        return
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not re.match(r"\.(?!ci$)|__pycache__$|build$|dist$|run", name)]
        yield from (Path(folder, name) for name in files)


def test_the_lock_satisfies_the_project() -> None:
    """Else `make setup` installs what the project does not work with."""
    requirements = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    assert unsatisfied(requirements, locked(LOCK)) == []


def test_an_unsatisfied_lock_is_seen() -> None:
    """The mutants of the test above: too old, missing, without a hash."""
    pins = locked("typer==0.1 \\\n    --hash=sha256:00\nrich==14.0 \\\n    --hash=sha256:00")
    assert unsatisfied(["typer>=0.16", "rich>=14", "uv>=0.7"], pins) == ["typer>=0.16", "uv>=0.7"]
    with pytest.raises(AssertionError, match="no hash"):
        locked("typer==0.1")


def test_no_file_names_a_registry() -> None:
    """A user behind a mirror cannot reach a host that a file insists on."""
    assert REGISTRY_HOSTS.search("--index-url https://" + "pypi." + "org/simple")
    files = list(tracked_files())
    assert ROOT / "pyproject.toml" in files
    naming = [
        f"{file.relative_to(ROOT)}: {found[0]}"
        for file in files
        if (found := REGISTRY_HOSTS.search(file.read_text(errors="replace")))
    ]
    assert naming == []


def test_every_module_can_be_imported() -> None:
    """A module that fails at its import is a command that fails at a user's."""
    names = [
        module.name for module in pkgutil.walk_packages(watcher.__path__, "watcher.") if module.name[-8:] != "__main__"
    ]
    assert "watcher.doctor.checks" in names
    for name in names:
        if sys.platform != "linux" and name.startswith(("watcher.lab", "watcher.faults", "watcher.runner")):
            continue  # their libraries are Linux's
        importlib.import_module(name)


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Standard output; a failure shows standard error. The checkout is only visible where ``cwd`` shows it."""
    seen = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=cwd, env=seen, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    for file in tracked_files():
        (checkout / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, checkout / file.relative_to(ROOT))
    for leftover in LEFTOVERS:
        (checkout / leftover).parent.mkdir(parents=True, exist_ok=True)
        (checkout / leftover).touch()
    # The backend is in the lock, so nothing is fetched for it.
    build = (UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable)
    run(*build, "--out-dir", folder, checkout)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.timeout(600)
def test_the_wheel_carries_data_and_clients(wheel: Path) -> None:
    """Without them an installed watcher knows no profile, no scenario and no client."""
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [file for kind in ("profiles", "paths", "scenarios") for file in (ROOT / "watcher" / kind).glob("*.toml")]
    data += [*(ROOT / "watcher/report/page/assets").iterdir(), *(ROOT / "watcher/schemas").iterdir()]
    assert len(data) > 15
    clients = [file for file in tracked_files() if ROOT / "clients" in file.parents]
    assert clients
    expected = {file.relative_to(ROOT).as_posix() for file in data} | {"watcher/py.typed"}
    expected |= {f"watcher/{file.relative_to(ROOT).as_posix()}" for file in clients}
    assert expected - names == set()
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.mark.timeout(600)
def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    """Neither tests nor anything that a build or a run left in the checkout it was made from."""
    for name in zipfile.ZipFile(wheel).namelist():
        top, *rest = Path(name).parts
        assert top == "watcher" or top.endswith(".dist-info"), name
        assert not {"__pycache__", ".venv", "run-1"} & set(rest), name


@pytest.mark.timeout(600)
def test_the_installed_wheel_runs_anywhere(wheel: Path, tmp_path: Path) -> None:
    """Somebody who installed the package, with no checkout in sight, gets the same command."""
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    # The versions alone: with the lock's own markers and hashes they would be requirements, not constraints.
    pins = tmp_path / "pins.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in locked(LOCK).items()))
    run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", pins, wheel)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    assert str(environment) in run(python, "-c", "import watcher; print(watcher.__file__)", cwd=elsewhere)
    assert PROJECT["project"]["version"] in run(python, "-m", "watcher", "--version", cwd=elsewhere)
    stacks = json.loads(run(environment / "bin" / "watcher", "list", "stacks", "--json", cwd=elsewhere))
    assert "python-kubernetes" in json.dumps(stacks)
