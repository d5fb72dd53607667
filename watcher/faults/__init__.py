"""What goes wrong. One module a fault: ``apply`` does it, ``heal`` undoes it and may be called at any time, twice.

A fault returns the client's flows that it found established; the runner journals them. Whether it took hold is never
a fault's word: packets and kernel counters show it (``watcher.judge``).
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast

from watcher.errors import UnknownName
from watcher.lab.path import LabPath
from watcher.records import FlowKey


class Fault(Protocol):
    """What every module of this package offers."""

    NEEDS: frozenset[str]
    """What the topology must have, as data: ``path`` where it acts on the cell's own path."""

    def apply(self, path: LabPath) -> tuple[FlowKey, ...] | None:
        """Does it; returns the flows it found, or None where it has nothing to do. Blocks: meant for a thread."""

    def heal(self, path: LabPath) -> None:
        """Undoes it; harmless where it was never applied. Blocks: meant for a thread."""


def names() -> list[str]:
    """Every fault there is, by its name in a scenario file."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Fault:
    """The fault of that name. Raises UnknownName."""
    if name not in names():
        raise UnknownName("fault", name, names())
    return cast(Fault, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))
