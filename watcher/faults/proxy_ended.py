"""The proxy ends, as `kubectl port-forward` does: its connections get FIN, and new ones are refused for a while."""

from __future__ import annotations

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"proxy", "lab-balancer", "end"})
ANSWERS_PROBES = True


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.proxy is not None
    flows = scene.path.established()
    scene.path.lead_to(None)
    scene.proxy.close(scene.path.network.client_address)
    return flows


def heal(scene: Scene) -> None:
    scene.path.lead_to(scene.path.server)
