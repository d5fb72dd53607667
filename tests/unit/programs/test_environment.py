"""Client environments are built once, whole or not at all. uv is a stand-in here; tests/contract builds real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uv

from watcher.errors import FileError, WatcherError
from watcher.model import Build
from watcher.programs import environments

LOCK = "requirements.lock"
BUILD = Build(kind="python", lock=LOCK)

# Notes how it was called. `uv pip install` does what $STAND_IN says.
STAND_IN = r"""#!/bin/sh
echo "$1 cache=$UV_CACHE_DIR venv=$VIRTUAL_ENV path=$PYTHONPATH in $(pwd)" >>"$CALLS"
for place; do :; done
case $1 in
venv) mkdir -p "$place/bin"; touch "$place/bin/python"; echo "making $place" >&2 ;;
pip)
    case $STAND_IN in
    fail) echo "no such package"; exit 2 ;;
    slow) sleep 0.3 ;;
    hang) echo hanging; exec sleep 60 ;;
    esac ;;
esac
"""


class Calls:
    def __init__(self, file: Path) -> None:
        self._file = file

    def lines(self, command: str) -> list[str]:
        found = self._file.read_text().splitlines() if self._file.exists() else []
        return [line for line in found if line.startswith(f"{command} ")]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    binary = tmp_path / "uv"
    binary.write_text(STAND_IN)
    binary.chmod(0o755)
    monkeypatch.setattr(uv, "find_uv_bin", lambda: str(binary))
    monkeypatch.setenv("WATCHER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    return Calls(tmp_path / "calls")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "checkout" / "python-example"
    made.mkdir(parents=True)
    (made / LOCK).write_text("example==1.0\n")
    return made


def test_it_is_built_once(folder: Path, calls: Calls) -> None:
    """Every `make matrix` would otherwise download the libraries again."""
    said: list[str] = []
    assert not environments.is_built(folder, BUILD)
    place = environments.build(folder, BUILD, on_line=said.append)
    assert place == environments.environment_for(folder, BUILD)
    assert environments.is_built(folder, BUILD)
    assert any(line.startswith("making ") for line in said)
    assert environments.build(folder, BUILD) == place
    assert len(calls.lines("pip")) == 1


def test_another_lock_is_another_environment(folder: Path, calls: Calls) -> None:
    """A library upgraded in place would change what an older checkout measures."""
    first = environments.build(folder, BUILD)
    (folder / LOCK).write_text("example==1.1\n")
    assert environments.environment_for(folder, BUILD) != first
    assert not environments.is_built(folder, BUILD)
    environments.build(folder, BUILD)
    assert len(calls.lines("pip")) == 2


@pytest.mark.usefixtures("calls")
def test_another_python_is_another_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .venv made anew with another Python would run the clients with the old one and name the new."""
    first = environments.environment_for(folder, BUILD)
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    assert environments.environment_for(folder, BUILD) != first


def test_several_at_once_build_it_once(folder: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs that start together must not remove what the other is building."""
    monkeypatch.setenv("STAND_IN", "slow")
    with ThreadPoolExecutor(4) as pool:
        places = set(pool.map(lambda _: environments.build(folder, BUILD), range(4)))
    assert len(places) == 1
    assert len(calls.lines("pip")) == 1


@pytest.mark.usefixtures("calls")
def test_a_failure_names_its_log_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network a user needs to read what uv said, and to be able to try again."""
    monkeypatch.setenv("STAND_IN", "fail")
    with pytest.raises(WatcherError, match=r"python-example could not be built: uv pip ended with status 2") as caught:
        environments.build(folder, BUILD)
    place = environments.environment_for(folder, BUILD)
    log = place.with_name(f"{place.name}.log")
    assert str(log) in str(caught.value)
    assert "no such package" in log.read_text()
    assert [entry.name for entry in place.parent.iterdir() if entry.is_dir()] == []
    monkeypatch.delenv("STAND_IN")
    assert environments.build(folder, BUILD) == place
    assert not log.exists()


@pytest.mark.usefixtures("calls")
def test_a_build_that_is_killed_is_not_used(folder: Path) -> None:
    """A half-installed library would fail in the middle of a run, in one of a thousand ways."""
    code = (
        "import sys, pathlib, uv; from watcher.programs import environments; from watcher.model import Build\n"
        "uv.find_uv_bin = lambda: sys.argv[2]\n"
        "environments.build(pathlib.Path(sys.argv[1]), Build(kind='python', lock='requirements.lock'), on_line=print)"
    )
    building = subprocess.Popen(
        [sys.executable, "-uc", code, str(folder), uv.find_uv_bin()],
        env={**os.environ, "STAND_IN": "hang"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert building.stdout is not None
    with building, building.stdout:
        while building.stdout.readline() not in ("hanging\n", ""):
            pass
        os.killpg(building.pid, signal.SIGKILL)
    place = environments.environment_for(folder, BUILD)
    assert place.with_name(f".{place.name}.unfinished").is_dir(), "it was not killed in the middle"
    assert not environments.is_built(folder, BUILD)
    began = time.monotonic()
    environments.build(folder, BUILD)
    assert time.monotonic() - began < 40, "the dead one's lock was waited for"
    assert [entry for entry in place.parent.iterdir() if entry.is_dir()] == [place]


def test_an_environment_whose_python_is_gone_is_built_again(folder: Path, calls: Calls) -> None:
    """After an upgrade of the system's Python the link in the environment leads nowhere."""
    python = environments.build(folder, BUILD) / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert not environments.is_built(folder, BUILD)
    environments.build(folder, BUILD)
    assert environments.is_built(folder, BUILD)
    assert len(calls.lines("pip")) == 2


def test_uv_is_not_led_astray(folder: Path, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called from an activated environment, or inside a project, uv would install into that one."""
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.chdir(folder)
    environments.build(folder, BUILD)
    cache = tmp_path / "cache"
    for command in ("venv", "pip"):
        assert calls.lines(command) == [f"{command} cache={cache}/uv venv= path= in {cache}/environments"]


def test_a_users_own_uv_cache_is_used(folder: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who prepared a cache for a machine without a network means it to be used."""
    monkeypatch.setenv("UV_CACHE_DIR", "/prepared")
    environments.build(folder, BUILD)
    assert "cache=/prepared " in calls.lines("pip")[0]


@pytest.mark.usefixtures("calls")
def test_others_may_use_it_whatever_the_umask(folder: Path) -> None:
    """Built by an administrator for a shared machine, it must run for the users of that machine."""
    before = os.umask(0o077)
    try:
        place = environments.build(folder, BUILD)
    finally:
        os.umask(before)
    for entry in (place, place / "bin", place / "bin" / "python"):
        wanted = 0o5 if entry.is_dir() else 0o4
        assert entry.stat().st_mode & wanted == wanted, entry


@pytest.mark.usefixtures("calls")
def test_a_cache_that_cannot_be_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users without a home directory, as in containers, must learn which variable helps."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("WATCHER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WatcherError, match=r"python-example cannot be written to .*\n.*WATCHER_CACHE"):
        environments.build(folder, BUILD)


def test_without_the_variable_it_is_the_users_own_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that is removed must not take the environments with it, nor fill with them."""
    monkeypatch.delenv("WATCHER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    monkeypatch.setenv("HOME", "/somewhere")
    assert environments.environment_for(folder, BUILD).is_relative_to("/somewhere")


@pytest.mark.usefixtures("calls")
def test_a_lock_that_is_not_there(folder: Path) -> None:
    """A manifest with a typing error is a matter of file and key, not of a traceback."""
    with pytest.raises(FileError, match=r"client.toml: build.lock: .*missing.lock cannot be read") as caught:
        environments.build(folder, Build(kind="python", lock="missing.lock"))
    assert caught.value.key == "build.lock"
