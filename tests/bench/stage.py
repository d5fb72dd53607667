"""The lab without cells: made, reported ready, and kept until its input ends."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from watcher.lab import network, sandbox, sysctls
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.control_plane.launch import EmbeddedControlPlane
from watcher.lab.control_plane.running import ControlPlane
from watcher.records import LabReady
from watcher.runner.order import Order


async def stage(order: Order, began: float) -> None:
    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(order.scale))
    folder = Path(order.folder)
    if order.control_plane is None:
        async with EmbeddedControlPlane.start(
            cluster, folder, scale=order.scale, unserved=lambda _what: None
        ) as running:
            await report(running, began)
    else:
        binaries = order.control_plane
        async with KubernetesControlPlane.start(cluster, folder, binaries=binaries, scale=order.scale) as real:
            await report(real, began)


async def report(running: ControlPlane, began: float) -> None:
    ready = LabReady(t=time.monotonic(), seconds=time.monotonic() - began, control_plane=running.version)
    sys.stdout.write(ready.model_dump_json() + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(os.read, 0, 1)


def main() -> None:
    began = time.monotonic()
    order = Order.model_validate_json(sys.stdin.readline())
    sandbox.furnish()
    asyncio.run(stage(order, began))


if __name__ == "__main__":
    main()
