"""The proxy closes the client's connections with FIN, in the midst of an answer; new ones work."""

from __future__ import annotations

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"proxy"})
ANSWERS_PROBES = True


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.proxy is not None
    flows = scene.path.established()
    scene.proxy.close(scene.path.network.client_address)
    return flows


def heal(_scene: Scene) -> None:
    return None
