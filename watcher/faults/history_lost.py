"""The API server ends, and one takes over that was started just now, without the history that watches resume from."""

from __future__ import annotations

import signal

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"own-backend", "lab-balancer"})
ANSWERS_PROBES = True


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.own is not None
    flows = scene.path.established()
    # In this order, so that the clients find it there: one that were refused first might list anew for that reason.
    scene.path.lead_to(scene.own.start_anew())
    scene.own.signal(signal.SIGTERM)
    return flows


def heal(_scene: Scene) -> None:
    return None
