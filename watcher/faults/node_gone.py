"""The API server's node is gone from one moment to the next, and nobody answers for it. Another takes over."""

from __future__ import annotations

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"own-backend"})


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.own is not None
    flows = scene.path.established()
    scene.own.vanish("silence")
    scene.take_over()
    return flows


def heal(_scene: Scene) -> None:
    return None
