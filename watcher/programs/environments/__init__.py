"""A client's environment: its library in the versions of its lock file, apart from the harness and from each other.

It lies in the user's cache under a name made of all that decides what comes out (lock, sources, tool), so that it is
built once, used by every checkout, and never changed: another lock file is another environment. It is built beside its
place and moved there when it is whole; what is there can be used. How, is the affair of its kind: one module in
``kinds``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from watcher.errors import FileError, ToolMissing, WatcherError
from watcher.model import Build
from watcher.programs.environments import kinds
from watcher.programs.environments.work import CACHE_VARIABLE, Project, Work
from watcher.toolchains.alone import alone
from watcher.toolchains.command import needed

UNFINISHED = ".unfinished"


def cache_folder() -> Path:
    """``WATCHER_CACHE``, else the user's cache folder for this program."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).absolute() if named else Path(platformdirs.user_cache_dir("watcher"))


def environment_for(folder: Path, build: Build) -> Path:
    """Where the environment of a client folder is, or will be.

    Raises ``FileError`` without a readable lock file, and ``ToolMissing`` where this machine cannot build it.
    """
    if build.lock is None:
        return folder
    project = Project(folder, build.lock, cache_folder(), build.commands)
    kind = kinds.load(build.kind)
    key = hashlib.sha256()
    for part in (*_contents(project, kind), *(text.encode() for text in kind.identity(project))):
        key.update(len(part).to_bytes(8, "big") + part)
    return project.cache / "environments" / f"{folder.name}-{key.hexdigest()[:16]}"


def is_built(folder: Path, build: Build) -> bool:
    """Whether it can be used now. Raises ``FileError`` without a readable lock file."""
    try:
        _need(build)
        # Not only the folder: an interpreter that it points to can have been removed since.
        return build.lock is None or kinds.load(build.kind).is_whole(environment_for(folder, build))
    except ToolMissing:
        return False


def lacks(folder: Path, build: Build) -> ToolMissing | None:
    """What only the user can provide: a tool to build it with, or a program that it cannot run without."""
    try:
        _need(build)
        environment_for(folder, build)
    except ToolMissing as missing:
        return missing
    except WatcherError:
        return None  # a lock that is not there is not a tool's fault, and the build says so
    return None


def build(folder: Path, build: Build, *, on_line: Callable[[str], None] = lambda _line: None) -> Path:
    """Builds the environment unless it is there, and returns its place. ``on_line`` gets what the tools say meanwhile.

    Several may do so at once, in one process or in several: one builds, the others wait. Needs the network, or caches
    of the tools that have all of the lock file. Raises ``ToolMissing``, and ``WatcherError`` with the end of the log
    and where it is.
    """
    _need(build)
    place = environment_for(folder, build)
    if is_built(folder, build):
        return place
    assert build.lock is not None
    unfinished, log = place.with_name(f".{place.name}{UNFINISHED}"), place.with_name(f"{place.name}.log")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with alone(place.with_name(f".{place.name}.lock")):
            if is_built(folder, build):
                return place
            # Of a name nobody had: a build that was killed can have left a compiler behind that still writes.
            scratches = f".{place.name}.scratch-"
            for left in (unfinished, place, *place.parent.glob(f"{scratches}*")):
                if left.exists():
                    shutil.rmtree(left)
            project, kind = Project(folder, build.lock, cache_folder(), build.commands), kinds.load(build.kind)
            with tempfile.TemporaryDirectory(prefix=scratches, dir=place.parent) as scratch:
                try:
                    with log.open("w") as lines:
                        work = Work(project, unfinished, Path(scratch), log, lines, on_line)
                        kind.make(project, work)
                    _open_to_everybody(unfinished)
                except BaseException:
                    shutil.rmtree(unfinished, ignore_errors=True)
                    raise
                unfinished.rename(place)
                with log.open("a") as lines:
                    kind.settle(project, Work(project, place, Path(scratch), log, lines, on_line))
            log.unlink()
    except OSError as error:
        raise WatcherError(
            f"the environment of {folder.name} cannot be written to {place.parent}: {error.strerror or error}",
            advice=f"{CACHE_VARIABLE} names another folder for it: {CACHE_VARIABLE}=/var/tmp/watcher watcher build",
        ) from error
    return place


def _need(build: Build) -> None:
    for program in build.needs:
        needed(program, f"install {program}; it is the system's own that is measured")


def _contents(project: Project, kind: kinds.Kind) -> list[bytes]:
    """Of the lock, and of every other file that goes into what is built, with its name."""
    lock = project.folder / project.lock
    try:
        contents = [lock.read_bytes()]
    except OSError as error:
        problem = f"{lock} cannot be read: {error.strerror}"
        raise FileError(str(project.folder / "client.toml"), "build.lock", problem) from error
    for file in kind.inputs(project):
        contents += [str(file.relative_to(project.folder)).encode(), file.read_bytes()]
    return contents


def _open_to_everybody(place: Path) -> None:
    """Built by an administrator for a shared machine, it must serve that machine's users."""
    for entry in (place, *place.rglob("*")):
        if not entry.is_symlink():
            mode = entry.stat().st_mode
            entry.chmod(0o755 if entry.is_dir() or mode & 0o100 else 0o644)
