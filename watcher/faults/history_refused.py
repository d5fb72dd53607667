"""Connections are reset, and new ones lead to an API server without history: a watch that resumes gets status 410."""

from __future__ import annotations

from watcher.faults import FORGETFUL
from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"lab-balancer", FORGETFUL})
ANSWERS_PROBES = True


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.forgetful is not None
    flows = scene.path.established()
    scene.path.lead_to(scene.forgetful)
    scene.path.reset(flows)
    return flows


def heal(scene: Scene) -> None:
    scene.path.lead_to(scene.path.server)
