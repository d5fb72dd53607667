"""An API server of a scenario's own, on the same etcd as the shared one, in a namespace of its own, to do harm to.

Where kube-proxy is the path's balancer, it has a Service of its own beside it, whose EndpointSlice is made by hand.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from watcher.lab.addresses import API_KEEPALIVE_PORT, Server, own_link
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Once


class OwnApiServer:
    """One of them; a ``scene.OwnServer``. ``number`` names its link, its address and its ClusterIP."""

    def __init__(self, number: int, cluster: Namespace) -> None:
        self.server = Server(own_link(number).far, API_KEEPALIVE_PORT)
        self._number = number
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._once = Once()

    @classmethod
    @asynccontextmanager
    async def start(
        cls, control_plane: KubernetesControlPlane, cluster: Namespace, folder: Path, number: int, *, service: bool
    ) -> AsyncIterator[OwnApiServer]:
        """Ready when entered, gone when left. ``service``: with a Service that kube-proxies lead to it by."""
        raise NotImplementedError
        yield cls(number, cluster)

    def signal(self, number: signal.Signals) -> None:
        raise NotImplementedError

    def ended(self, within_seconds: float) -> None:
        raise NotImplementedError

    def vanish(self, answer: Literal["silence", "unreachable"]) -> None:
        raise NotImplementedError

    def move_endpoint(self) -> None:
        raise NotImplementedError

    def start_anew(self) -> None:
        raise NotImplementedError
