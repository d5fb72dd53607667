"""The environments of the clients, really built."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path

import pytest

from watcher.catalog import Catalog
from watcher.programs import environment

CLIENTS = {found.folder: found.build for found in Catalog.load().stacks.values()}
STATE = "import json, platform, sys; print(json.dumps([platform.python_version(), sys.prefix, sys.path]))"


@pytest.mark.parametrize("folder", CLIENTS, ids=lambda folder: folder.name)
def test_it_is_the_harnesss_python_with_the_clients_library_only(folder: Path) -> None:
    """A client that imports the harness's packages is another client than the one in the matrix."""
    place = environment.build(folder, CLIENTS[folder])
    version, prefix, path = json.loads(
        subprocess.run([place / "bin" / "python", "-c", STATE], check=True, capture_output=True).stdout
    )
    assert version == platform.python_version()
    assert prefix == str(place)
    packages = [Path(entry) for entry in path if "-packages" in entry]
    assert packages
    assert all(entry.is_relative_to(place) for entry in packages)


@pytest.mark.parametrize("folder", CLIENTS, ids=lambda folder: folder.name)
def test_everybody_can_use_it(folder: Path) -> None:
    """Built by root, it must serve an ordinary user, who cannot write what is missing: not even compiled modules."""
    place = environment.build(folder, CLIENTS[folder])
    entries = [place, *place.rglob("*")]
    closed = [entry for entry in entries if not entry.is_symlink() and not entry.stat().st_mode & 0o004]
    assert closed == []
    modules = {entry for entry in entries if entry.suffix == ".py" and "site-packages" in entry.parts}
    compiled = {entry.parents[1] / f"{entry.name.split('.')[0]}.py" for entry in entries if entry.suffix == ".pyc"}
    assert modules
    assert len(modules - compiled) < len(modules) / 100, "not compiled"


@pytest.mark.parametrize("folder", CLIENTS, ids=lambda folder: folder.name)
def test_the_lock_is_what_the_manifest_says(folder: Path) -> None:
    """The version in a published matrix is the version that ran; and no user is sent to somebody's mirror."""
    lock = (folder / CLIENTS[folder].lock).read_text()
    assert "://" not in lock
    for found in Catalog.load().stacks.values():
        if found.folder == folder:
            assert f"{found.stack.library}=={found.stack.version} " in lock
