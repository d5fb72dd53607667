"""The environments of the clients, really built."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.catalog import Catalog, FoundStack
from watcher.programs.contract import UNSUPPORTED_STATUS

Place = Callable[[FoundStack], Path]
STACKS = Catalog.load().stacks
BUILT = {name: found for name, found in STACKS.items() if found.build.lock is not None}
PYTHON = {name: found for name, found in STACKS.items() if found.build.kind == "python"}
STATE = "import json, platform, sys; print(json.dumps([platform.python_version(), sys.prefix, sys.path]))"


@pytest.mark.parametrize("stack", PYTHON)
def test_it_is_the_harnesss_python_with_the_clients_library_only(stack: str, place: Place) -> None:
    """A client that imports the harness's packages is another client than the one in the matrix."""
    there = place(STACKS[stack])
    version, prefix, path = json.loads(
        subprocess.run([there / "bin" / "python", "-c", STATE], check=True, capture_output=True).stdout
    )
    assert version == platform.python_version()
    assert prefix == str(there)
    packages = [Path(entry) for entry in path if "-packages" in entry]
    assert packages
    assert all(entry.is_relative_to(there) for entry in packages)


@pytest.mark.parametrize("stack", BUILT)
def test_everybody_can_use_it(stack: str, place: Place) -> None:
    """Built by root, it must serve an ordinary user, who cannot write what is missing: not even compiled modules."""
    there = place(STACKS[stack])
    entries = [there, *there.rglob("*")]
    closed = [entry for entry in entries if not entry.is_symlink() and not entry.stat().st_mode & 0o004]
    assert closed == []


@pytest.mark.parametrize("stack", PYTHON)
def test_its_modules_are_compiled(stack: str, place: Place) -> None:
    """Else every cell of an ordinary user compiles them again, and starts as much later."""
    entries = list(place(STACKS[stack]).rglob("*"))
    modules = {entry for entry in entries if entry.suffix == ".py" and "site-packages" in entry.parts}
    compiled = {entry.parents[1] / f"{entry.name.split('.')[0]}.py" for entry in entries if entry.suffix == ".pyc"}
    assert modules
    assert len(modules - compiled) < len(modules) / 100, "not compiled"


def compiled_anew(command: list[str], *flags: str) -> tuple[int, int]:
    """Of the libraries' modules that a program imports before it looks at its profile: compiled for it, and taken."""
    python, *program = command
    done = subprocess.run(
        [python, "-B", "-v", *flags, *program],
        env={"WATCHER_PROFILE": "none", "WATCHER_NAMESPACE": "none", "WATCHER_NAME": "none", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=60,
    )
    assert done.returncode == UNSUPPORTED_STATUS, done.stderr[-2000:]
    said = [line for line in done.stderr.splitlines() if "-packages" in line]
    # It names the source where it has compiled that, else what was compiled before.
    anew = sum(line.startswith("# code object from ") and line.rstrip("'").endswith(".py") for line in said)
    return anew, sum(" matches " in line for line in said)


@pytest.mark.parametrize("stack", PYTHON)
def test_no_cell_compiles_them(stack: str, command: Callable[..., list[str]]) -> None:
    """Modules that are compiled, but older than their sources, or for another Python, are compiled again by each cell:
    that is two thirds of its start.
    """
    arguments = command(stack)
    anew, taken = compiled_anew(arguments)
    assert taken > 0, "it imports no library"
    assert anew == 0


def test_the_check_sees_a_module_that_is_compiled_anew(command: Callable[..., list[str]], tmp_path: Path) -> None:
    """Else the check above says nothing."""
    anew, taken = compiled_anew(command("python-urllib3"), "-X", f"pycache_prefix={tmp_path}")
    assert anew > 10
    assert taken == 0


@pytest.mark.parametrize("stack", BUILT)
def test_the_lock_is_what_the_manifest_says(stack: str) -> None:
    """The version in a published matrix is the version that ran; and no user is sent to somebody's mirror."""
    found = STACKS[stack]
    assert found.build.lock is not None
    lock = (found.folder / found.build.lock).read_text()
    # How Cargo.lock names the registry itself; and npm's lock says how to thank whom.
    places = [line for line in lock.splitlines() if "://" in line and '"url":' not in line]
    assert not [line for line in places if "https://github.com/rust-lang/crates.io-index" not in line]
    named = {
        "python": "{library}=={version} ",
        "go": "{library} {version} h1:",
        "node": '"node_modules/{library}": {{\n      "version": "{version}"',
        "maven": "  {library}-{version}.jar",
        "cargo": 'name = "{library}"\nversion = "{version}"',
    }
    library = found.stack.library
    if found.build.kind == "go" and not lock:  # nothing but the standard library, which comes with the tool
        assert f"\n{found.stack.version.replace('go', 'go ')}." in (found.folder / "go.mod").read_text()
        return
    if found.build.kind == "maven":
        library = library.rpartition(":")[2]  # group:artifact; the list has files
    assert named[found.build.kind].format(library=library, version=found.stack.version) in lock
