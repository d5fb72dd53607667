"""Node: the packages of a package-lock.json beside a copy of the programs, since they look for packages beside them."""

from __future__ import annotations

import platform
from pathlib import Path

from watcher.programs.environments.work import Project, Work
from watcher.toolchains import node
from watcher.toolchains.command import needed

_MANIFESTS = ("package.json", "package-lock.json")


def identity(project: Project) -> tuple[str, ...]:
    # With where it is, since the environment points to it.
    chosen = node.choose(project.cache)
    return chosen.version, str(chosen.binary), platform.machine()


def inputs(project: Project) -> tuple[Path, ...]:
    return project.sources()


def make(project: Project, work: Work) -> None:
    chosen = node.choose(project.cache)
    node.prepare(chosen, project.cache, work.say)
    work.copy(inputs(project), work.place)
    for name in _MANIFESTS:
        work.copy_file(project.folder / project.lock_folder / name, work.place / name)
    (work.place / "bin").mkdir()
    (work.place / "bin" / "node").symlink_to(chosen.binary)
    work.run(
        [str(needed("npm", node.GET_NPM)), *node.NPM_CI],
        work.place,
        node.environment(project.cache),
        hint="it needs the network, or the mirror that npm's setting `registry` names",
    )


def settle(_project: Project, _work: Work) -> None:
    """Nothing: it is the same wherever it lies."""


def is_whole(place: Path) -> bool:
    return (place / "bin" / "node").is_file() and (place / "package.json").is_file()
