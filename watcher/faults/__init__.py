"""What goes wrong. One module a fault: ``apply`` does it, ``heal`` undoes it and may be called at any time, twice.

A fault returns the client's flows that it found established; the runner journals them. Whether it took hold is never
a fault's word: packets and kernel counters show it (``watcher.judge``).

The planner reads two more constants, from the source and without importing it; they are False where a module has none.
``BLOCKS_CONNECTIONS``: while it is in force, packets that open a connection get no answer at all. ``ANSWERS_PROBES``:
it leaves no flow on which a probe gets no answer, so that how long keepalive takes to give up decides nothing.

``TAKES_SECONDS``, where a module has it, is how long ``apply`` takes by design, in real time whatever the scale: it is
begun so much earlier, as far as the control touch allows, to be in force when the fault is due.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Protocol, cast

from watcher.errors import UnknownName, UsageError
from watcher.lab.scene import Scene
from watcher.model import Backend, Balancer, Path, Scenario
from watcher.records import FlowKey


class Fault(Protocol):
    """What every module of this package offers."""

    NEEDS: frozenset[str]
    """What the scenario and its path must have, words of ``_NEEDS``."""

    def apply(self, scene: Scene) -> tuple[FlowKey, ...] | None:
        """Does it; returns the flows it found, or None where it has nothing to do. Blocks: meant for a thread."""

    def heal(self, scene: Scene) -> None:
        """Undoes it; harmless where it was never applied. Blocks: meant for a thread."""


FORGETFUL = "forgetful-server"
"""A need that the stage meets: ``Scene.forgetful``."""
DEAF = "deaf-server"
"""A need that the stage meets as far as it can: a server of the scenario's own that ignores SIGTERM. ``OwnServer.deaf``
says whether it does; one that cannot be told to is never sent any, which comes to the same for its clients."""

_NEEDS: dict[str, tuple[str, Callable[[Scenario, Path], bool]]] = {
    "idle-timeout": ("a path with idle_timeout_seconds", lambda _, path: path.idle_timeout_seconds is not None),
    "end": (
        "fault_seconds, how long it lasts (for example fault_seconds = 60.0)",
        lambda scenario, _: scenario.fault_seconds is not None,
    ),
    "lab-balancer": ("a path whose balancer is the lab's own", lambda _, path: path.balancer is Balancer.LAB),
    "proxy": ("a path with proxy = true", lambda _, path: path.proxy),
    FORGETFUL: ("a server that refuses history, which every stage has", lambda _, __: True),
    DEAF: ("a server that ignores SIGTERM, or is sent none, which every stage has", lambda _, __: True),
    "same-node": ("a path with same_node = true", lambda _, path: path.same_node),
    "own-backend": ('backend = "own"', lambda scenario, _: scenario.backend is Backend.OWN),
}


def names() -> list[str]:
    """Every fault there is, by its name in a scenario file."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Fault:
    """The fault of that name. Raises UnknownName."""
    if name not in names():
        raise UnknownName("fault", name, names())
    return cast(Fault, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def takes_seconds(name: str) -> float:
    """The fault's ``TAKES_SECONDS``; 0 where it says nothing. Raises UnknownName."""
    return float(getattr(load(name), "TAKES_SECONDS", 0.0))


def check(scenario: Scenario, path: Path) -> None:
    """Raises UsageError where the scenario's fault needs what the scenario and its path do not have."""
    for need in sorted(load(scenario.fault).NEEDS):
        what, has = _NEEDS[need]
        if not has(scenario, path):
            raise UsageError(
                f"scenario {scenario.name}: fault {scenario.fault} needs {what}", advice="docs/scenarios.md"
            )
