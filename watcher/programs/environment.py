"""A client's environment: its library in the versions of its lock file, apart from the harness and from each other.

It lies in the user's cache under a name made of the lock file and the interpreter, so that it is built once, used by
every checkout, and never changed: another lock file is another environment. It is built beside its place and moved
there when it is whole; what is there can be used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import uv

from watcher.errors import FileError, WatcherError
from watcher.model import Build

CACHE_VARIABLE = "WATCHER_CACHE"
# Of whoever called us; each would send uv or its Python somewhere else than into the new environment.
_NOT_INHERITED = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
)


def cache_folder() -> Path:
    """``WATCHER_CACHE``, else the user's cache folder for this program."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).absolute() if named else Path(platformdirs.user_cache_dir("watcher"))


def environment_for(folder: Path, build: Build) -> Path:
    """Where the environment of a client folder is, or will be. Raises ``FileError`` without a readable lock file."""
    if build.kind == "none":
        return folder
    lock = folder / build.lock
    try:
        content = lock.read_bytes()
    except OSError as error:
        problem = f"{lock} cannot be read: {error.strerror}"
        raise FileError(str(folder / "client.toml"), "build.lock", problem) from error
    key = hashlib.sha256()
    for part in (content, *(text.encode() for text in _interpreter())):
        key.update(len(part).to_bytes(8, "big") + part)
    return cache_folder() / "environments" / f"{folder.name}-{key.hexdigest()[:16]}"


def is_built(folder: Path, build: Build) -> bool:
    # Not only the folder: the interpreter that it points to can have been removed since.
    return build.kind == "none" or (environment_for(folder, build) / "bin" / "python").is_file()


def build(folder: Path, build: Build, *, on_line: Callable[[str], None] = lambda _line: None) -> Path:
    """Builds the environment unless it is there, and returns its place. ``on_line`` gets what uv says meanwhile.

    Several may do so at once, in one process or in several: one builds, the others wait. Needs the network, or a uv
    cache that has all of the lock file. Raises ``WatcherError``, naming the log.
    """
    if is_built(folder, build):
        return environment_for(folder, build)
    place = environment_for(folder, build)
    unfinished, log = place.with_name(f".{place.name}.unfinished"), place.with_name(f"{place.name}.log")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place.with_name(f".{place.name}.lock")):
            if is_built(folder, build):
                return place
            for left in (unfinished, place):
                if left.exists():
                    shutil.rmtree(left)
            _make(folder, folder / build.lock, unfinished, log, on_line)
            unfinished.rename(place)
            log.unlink()
    except OSError as error:
        raise WatcherError(
            f"the environment of {folder.name} cannot be written to {place.parent}: {error.strerror or error}",
            advice=f"{CACHE_VARIABLE} names another folder for it: {CACHE_VARIABLE}=/var/tmp/watcher watcher build",
        ) from error
    return place


def _interpreter() -> tuple[str, ...]:
    """What an environment cannot be moved between."""
    return platform.python_implementation(), platform.python_version(), sysconfig.get_platform(), str(_base_python())


def _base_python() -> Path:
    """The interpreter under the harness's own environment."""
    major, minor = sys.version_info[:2]
    for name in (f"python{major}.{minor}", "python3"):
        candidate = Path(sys.base_prefix) / "bin" / name
        if candidate.is_file():
            return candidate
    return Path(sys.executable).resolve()


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Holds ``file``'s lock, which the kernel gives back however this process ends."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(folder: Path, lock: Path, place: Path, log: Path, on_line: Callable[[str], None]) -> None:
    try:
        binary = uv.find_uv_bin()
    except FileNotFoundError as error:
        raise WatcherError(
            "the program uv is not in this installation", advice="install the package uv again"
        ) from error
    python = str(place / "bin" / "python")
    # Relocatable, since it is moved when it is whole; compiled, since whoever uses it may not write to it.
    commands = (
        [binary, "venv", "--no-project", "--relocatable", "--python", str(_base_python()), str(place)],
        [binary, "pip", "install", "--python", python, "--require-hashes", "--compile-bytecode", "-r", str(lock)],
    )
    with log.open("w") as lines:

        def keep(line: str) -> None:
            lines.write(f"{line}\n")
            on_line(line)

        for command in commands:
            status = _run(command, place.parent, keep)
            if status != 0:
                shutil.rmtree(place, ignore_errors=True)
                raise WatcherError(
                    f"the environment of {folder.name} could not be built: uv {command[1]} ended with status {status}",
                    advice=f"its log: {log}; it needs the network, or the mirror that UV_DEFAULT_INDEX names; then "
                    "`watcher build` tries again",
                )


def _run(command: list[str], folder: Path, on_line: Callable[[str], None]) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    if CACHE_VARIABLE in environment:
        environment.setdefault("UV_CACHE_DIR", str(cache_folder() / "uv"))
    on_line("$ " + " ".join(command))
    with subprocess.Popen(
        command,
        cwd=folder,  # where no project is, which uv would look for
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=0o022,  # other users of this machine may use it, whatever the umask is
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            on_line(line.rstrip("\n"))
    return process.returncode
