"""As pod-deleted, on the client's own node: that forgets its flows with its route, and what comes then is led anew."""

from __future__ import annotations

from watcher.faults import DEAF, pod_deleted
from watcher.lab import local_pod
from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"own-backend", "same-node", DEAF})
TAKES_SECONDS = pod_deleted.TAKES_SECONDS
ANSWERS_PROBES = True
"""The node leads them to the server that took over, whose kernel knows of no such connection."""


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.own is not None
    flows = scene.path.established()
    pod_deleted.goes_on(scene)
    # Before its process ends: the last words of its kernel get out no more than in pod-deleted.
    local_pod.delete(scene.path.network, scene.own.server.address)
    scene.own.vanish("silence")
    return flows


def heal(_scene: Scene) -> None:
    return None
