"""The path forgets a flow that has been idle for its timeout, by its own clock; nobody has to do anything."""

from __future__ import annotations

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"idle-timeout"})


def apply(_scene: Scene) -> tuple[FlowKey, ...] | None:
    return None


def heal(_scene: Scene) -> None:
    return None
