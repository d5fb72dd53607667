"""Nothing goes wrong: what a healthy watch looks like."""

from __future__ import annotations

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS: frozenset[str] = frozenset()


def apply(_scene: Scene) -> tuple[FlowKey, ...] | None:
    return None


def heal(_scene: Scene) -> None:
    return None
