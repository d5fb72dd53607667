"""The server's pod is deleted by force: an endpoint no more, deaf to SIGTERM, it goes on for a moment, then is gone.

Servers of ours are told, ignore it and say so in their logs. kube-apiserver, nats-server and mosquitto cannot be made
to: they are never told to end, which is what being deaf to SIGTERM comes to (as in a pod whose first process is a
shell).
"""

from __future__ import annotations

import signal
import time

from watcher.faults import DEAF
from watcher.lab.control_plane.own import HEARD_SECONDS
from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS = frozenset({"own-backend", DEAF})

GOES_ON_SECONDS = 1.0
"""Real time, whatever the scale: the balancer has let go of it, and its established flows still work."""
TAKES_SECONDS = HEARD_SECONDS + GOES_ON_SECONDS


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    assert scene.own is not None
    flows = scene.path.established()
    goes_on(scene)
    scene.own.vanish("silence")
    return flows


def goes_on(scene: Scene) -> None:
    """It is told to end, and goes on all the same. Raises LabFailure where it then is found to have ended."""
    assert scene.own is not None
    scene.take_over()
    if scene.own.deaf:
        scene.own.signal(signal.SIGTERM)
    time.sleep(GOES_ON_SECONDS)


def heal(_scene: Scene) -> None:
    return None
