"""Go: every ``package main`` of a module, compiled with exactly what go.sum names."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from watcher.errors import FileError
from watcher.programs.environments.work import Project, Work
from watcher.toolchains import go


def identity(project: Project) -> tuple[str, ...]:
    return go.choose(project.cache, _needed(project)).version, platform.machine()


def inputs(project: Project) -> tuple[Path, ...]:
    return project.sources()


def make(project: Project, work: Work) -> None:
    toolchain = go.prepare(
        go.choose(project.cache, _needed(project)), project.cache, work.scratch, work.say, own="clients-"
    )
    module = work.copy(inputs(project), work.scratch / "source") / project.lock_folder
    binaries = work.place / "bin"
    binaries.mkdir(parents=True)
    work.run(
        [str(toolchain.binary), "build", "-trimpath", "-o", f"{binaries}/", "./..."],
        module,
        {**toolchain.environment, "PWD": str(module)},
        hint="it needs the network, or the mirror that GOPROXY names",
    )
    if not is_whole(work.place):
        raise work.failure("no package of it is `main`", "a client is a program")


def is_whole(place: Path) -> bool:
    return (place / "bin").is_dir() and any((place / "bin").iterdir())


def _needed(project: Project) -> tuple[int, ...]:
    file = project.folder / project.lock_folder / "go.mod"
    try:
        line = re.search(r"^go (\S+)$", file.read_text(), re.MULTILINE)
    except OSError as error:
        raise FileError(str(file), None, f"cannot be read: {error.strerror}") from error
    if line is None:
        raise FileError(str(file), None, "has no line `go 1.…`", advice="it says which Go is new enough")
    return go.parse(line[1])
