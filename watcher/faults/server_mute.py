"""The server's connections are reset, and for a while new ones are accepted by one that never says a word."""

from __future__ import annotations

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"lab-balancer", "end"})
ANSWERS_PROBES = True


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    flows = scene.path.established()
    # In this order no new connection is ever refused.
    scene.path.mute.listen()
    scene.path.lead_to(None)
    scene.path.reset(flows)
    return flows


def heal(scene: Scene) -> None:
    """Only for new connections: those that were accepted meanwhile stay open and mute."""
    scene.path.lead_to(scene.path.server)
