"""The API server is killed and says nothing more itself; its kernel ends its connections. Another takes over."""

from __future__ import annotations

import signal

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"own-backend"})


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.own is not None
    flows = scene.path.established()
    scene.own.signal(signal.SIGKILL)
    scene.take_over()
    return flows


def heal(_scene: Scene) -> None:
    return None
