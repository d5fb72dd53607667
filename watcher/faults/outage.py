"""Everything is dark for a while: flows that exist and new ones, in both directions."""

from __future__ import annotations

from watcher.lab import nftables
from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"end"})

BLOCKS_CONNECTIONS = True
"""What opens a connection is lost without an answer, and so is data in flight: the kernel repeats both by its own clock
(after 1, 3, 7, 15, 31 … s), which no scale divides. The planner reads this without importing the module."""


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    flows = scene.path.established()
    nftables.darken(scene.path.network.path, scene.path.network.client_address)
    return flows


def heal(scene: Scene) -> None:
    nftables.mend(scene.path.network.path)
