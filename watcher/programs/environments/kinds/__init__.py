"""The kinds of environments, one module each: a manifest's ``kind`` is its name, so there is no list to keep."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, cast

from watcher.errors import UnknownName
from watcher.programs.environments.work import Project, Work

NONE = "none"
"""Nothing is made; the one kind without a module."""


class Kind(Protocol):
    """What every module of this package offers."""

    def identity(self, project: Project) -> tuple[str, ...]:
        """What decides the outcome beside files: the tool's version. Raises ToolMissing with how to get the tool."""

    def inputs(self, project: Project) -> Iterable[Path]:
        """Files beside the lock that go into the environment, in a fixed order."""

    def make(self, project: Project, work: Work) -> None:
        """Fills ``work.place``, which is not there yet. Raises WatcherError or OSError."""

    def settle(self, project: Project, work: Work) -> None:
        """Adds what can only be made where the environment stays: there, ``work.place`` is that. Not whole before."""

    def is_whole(self, place: Path) -> bool:
        """Whether an environment at ``place`` can be used; False where there is none."""


def names() -> list[str]:
    """Every kind that a manifest may name."""
    return sorted([NONE, *(module.name for module in pkgutil.iter_modules(__path__))])


def load(name: str) -> Kind:
    """The kind of that name. Raises UnknownName."""
    if name == NONE or name not in names():
        raise UnknownName("build kind", name, names())
    return cast(Kind, importlib.import_module(f"{__name__}.{name}"))
