"""The client's processes are stopped for a while, as by a paused container; its kernel goes on."""

from __future__ import annotations

import contextlib
import os
import signal

from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"end"})


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    flows = scene.path.established()
    _send(scene, signal.SIGSTOP)
    return flows


def heal(scene: Scene) -> None:
    _send(scene, signal.SIGCONT)


def _send(scene: Scene, number: signal.Signals) -> None:
    for pid in scene.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
