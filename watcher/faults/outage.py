"""Everything is dark for a while: flows that exist and new ones, in both directions."""

from __future__ import annotations

from watcher.lab import nftables
from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"end"})


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    flows = scene.path.established()
    nftables.darken(scene.path.network.path, scene.path.network.client_address)
    return flows


def heal(scene: Scene) -> None:
    nftables.mend(scene.path.network.path)
