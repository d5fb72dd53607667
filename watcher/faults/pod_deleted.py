"""The server's pod is deleted by force: an endpoint no more, deaf to SIGTERM, it goes on for a moment, then is gone."""

from __future__ import annotations

import time

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"own-backend"})

GOES_ON_SECONDS = 1.0
"""Real time, whatever the scale: the balancer has let go of it, and its established flows still work."""


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.own is not None
    flows = scene.path.established()
    scene.take_over()
    time.sleep(GOES_ON_SECONDS)
    scene.own.vanish("silence")
    return flows


def heal(_scene: Scene) -> None:
    return None
