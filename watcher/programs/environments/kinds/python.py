"""Python: the harness's own interpreter, with the libraries of a requirements file that has hashes; uv makes it."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from pathlib import Path

from watcher.programs.environments.work import CACHE_VARIABLE, Project, Work
from watcher.toolchains.command import uv_binary

# Of whoever called us; each would send uv or its Python somewhere else than into the new environment.
_NOT_INHERITED = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
)


def identity(_project: Project) -> tuple[str, ...]:
    """What an environment cannot be moved between."""
    return platform.python_implementation(), platform.python_version(), sysconfig.get_platform(), str(_base_python())


def inputs(_project: Project) -> tuple[Path, ...]:
    """None: the programs run from the client's folder."""
    return ()


def make(project: Project, work: Work) -> None:
    binary = uv_binary()
    python = str(work.place / "bin" / "python")
    lock = str(project.folder / project.lock)
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    if CACHE_VARIABLE in environment:
        environment.setdefault("UV_CACHE_DIR", str(project.cache / "uv"))
    # Relocatable, since it is moved when it is whole; compiled, since whoever uses it may not write to it.
    for command in (
        [binary, "venv", "--no-project", "--relocatable", "--python", str(_base_python()), str(work.place)],
        [binary, "pip", "install", "--python", python, "--require-hashes", "--compile-bytecode", "-r", lock],
    ):
        # In a folder where no project is, which uv would look for.
        work.run(
            command,
            work.place.parent,
            environment,
            hint="it needs the network, or the mirror that UV_DEFAULT_INDEX names",
        )


def settle(_project: Project, _work: Work) -> None:
    """Nothing: it is the same wherever it lies."""


def is_whole(place: Path) -> bool:
    return (place / "bin" / "python").is_file()


def _base_python() -> Path:
    """The interpreter under the harness's own environment."""
    major, minor = sys.version_info[:2]
    for name in (f"python{major}.{minor}", "python3"):
        candidate = Path(sys.base_prefix) / "bin" / name
        if candidate.is_file():
            return candidate
    return Path(sys.executable).resolve()
