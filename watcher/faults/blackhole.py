"""The established flow dies in both directions without a word, while new connections work."""

from __future__ import annotations

from watcher.lab import nftables
from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS: frozenset[str] = frozenset()


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    flows = scene.path.established()
    network = scene.path.network
    ports = [flow.port for flow in flows]
    nftables.cut(network.path, network.client_address, ports, to_server=True, to_client=True)
    return flows


def heal(scene: Scene) -> None:
    nftables.mend(scene.path.network.path)
