"""The API server is killed and says nothing more itself; its kernel ends its connections. Another takes over."""

from __future__ import annotations

import signal

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"own-backend"})
ANSWERS_PROBES = True


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.own is not None
    flows = scene.path.established()
    # Before: a client that comes again at once must not meet a server that is gone, or not, as the machine is busy.
    scene.take_over()
    scene.own.signal(signal.SIGKILL)
    return flows


def heal(_scene: Scene) -> None:
    return None
