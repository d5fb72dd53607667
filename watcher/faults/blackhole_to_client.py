"""On the established flow nothing gets from the server to the client any more; the other direction works."""

from __future__ import annotations

from watcher.lab import nftables
from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS: frozenset[str] = frozenset()


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    flows = scene.path.established()
    network = scene.path.network
    ports = [flow.port for flow in flows]
    nftables.cut(network.path, network.client_address, ports, to_server=False, to_client=True)
    return flows


def heal(scene: Scene) -> None:
    nftables.mend(scene.path.network.path)
