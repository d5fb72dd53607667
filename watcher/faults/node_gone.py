"""The API server's node is gone from one moment to the next, and nobody answers for it. Another takes over."""

from __future__ import annotations

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"own-backend"})


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.own is not None
    flows = scene.path.established()
    # Before: a client that comes again at once must not meet a server that is gone, or not, as the machine is busy.
    scene.take_over()
    scene.own.vanish("silence")
    return flows


def heal(_scene: Scene) -> None:
    return None
