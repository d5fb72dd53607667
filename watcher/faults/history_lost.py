"""The API server ends and starts anew; changes made meanwhile leave it without the history that watches resume from."""

from __future__ import annotations

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"own-backend"})


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.own is not None
    flows = scene.path.established()
    scene.own.start_anew()
    return flows


def heal(_scene: Scene) -> None:
    return None
