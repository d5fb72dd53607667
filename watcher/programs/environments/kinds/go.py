"""Go: every ``package main`` of a module, and every tool that it names, compiled with exactly what go.sum names."""

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
        [str(toolchain.binary), "build", "-trimpath", "-o", f"{binaries}/", "./...", *_tools(project)],
        module,
        {**toolchain.environment, "PWD": str(module)},
        hint="it needs the network, or the mirror that GOPROXY names",
    )
    if not is_whole(work.place):
        raise work.failure("no package of it is `main`", "a client is a program")


def settle(_project: Project, _work: Work) -> None:
    """Nothing: it is the same wherever it lies."""


def is_whole(place: Path) -> bool:
    return (place / "bin").is_dir() and any((place / "bin").iterdir())


def _needed(project: Project) -> tuple[int, ...]:
    line = re.search(r"^go (\S+)$", _module(project), re.MULTILINE)
    if line is None:
        problem = "has no line `go 1.…`"
        raise FileError(str(_file(project)), None, problem, advice="it says which Go is new enough")
    return go.parse(line[1])


def _tools(project: Project) -> list[str]:
    """The pattern for somebody else's programs that go.mod names with ``tool``; nothing where it names none."""
    return ["tool"] if re.search(r"^tool\b", _module(project), re.MULTILINE) else []


def _module(project: Project) -> str:
    try:
        return _file(project).read_text()
    except OSError as error:
        raise FileError(str(_file(project)), None, f"cannot be read: {error.strerror}") from error


def _file(project: Project) -> Path:
    return project.folder / project.lock_folder / "go.mod"
