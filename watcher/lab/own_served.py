"""A server of ``watcher serve`` of a scenario's own, in a namespace of its own, to do harm to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any, Literal

from watcher.errors import LabFailure
from watcher.lab import network, sysctls
from watcher.lab.addresses import Server, own_link
from watcher.lab.control_plane import services
from watcher.lab.control_plane.kubernetes import READY_SECONDS, KubernetesControlPlane
from watcher.lab.control_plane.own import HEARD_SECONDS
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Once
from watcher.lab.served import Served

_MARGIN_SECONDS = 10.0


class OwnServed:
    """One of them; a ``scene.OwnServer``. ``number`` names its link, its address and its ClusterIP."""

    def __init__(
        self,
        number: int,
        cluster: Namespace,
        namespace: Namespace,
        served: Served,
        *,
        server: Server,
        shared: Server,
        control_plane: KubernetesControlPlane,
    ) -> None:
        self.served = served
        self.server = server
        self.namespace = namespace
        self._number = number
        self._cluster = cluster
        self._shared = shared
        self._control_plane = control_plane
        self._loop = asyncio.get_running_loop()
        self._once = Once()

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        number: int,
        cluster: Namespace,
        name: str,
        arguments: Sequence[str],
        *,
        shared: Server,
        control_plane: KubernetesControlPlane,
        folder: Path,
        scratch: Path,
        service: bool,
    ) -> AsyncIterator[OwnServed]:
        """Ready when entered, gone when left. It listens on the port of ``shared``, which takes over from it.

        ``service``: with a Service that kube-proxies lead to it by. Raises LabFailure, naming its log.
        """
        server = Server(own_link(number).far, shared.port)
        namespace = await asyncio.to_thread(network.make_server, number, cluster)
        api, token = control_plane.api, control_plane.access.token
        try:
            await asyncio.to_thread(namespace.write_sysctls, sysctls.endpoint(control_plane.scale))
            async with Served.start(
                f"{name}-own-{number}",
                (*arguments, "--address", server.address),
                namespace=namespace,
                folder=folder,
                scratch=scratch,
            ) as served:
                if service:
                    await services.make(api, token, number, server)
                yield cls(number, cluster, namespace, served, server=server, shared=shared, control_plane=control_plane)
        finally:
            # Where etcd or the API server broke, the run ends for that reason, not for this one.
            with suppress(LabFailure):
                if service:
                    await services.remove(api, token, number)
            await asyncio.to_thread(network.remove_server, number, cluster)

    def honours(self, namespace: str) -> None:
        """It serves everybody."""

    def signal(self, number: Signals) -> None:
        self._once(f"signal {number}", lambda: self.served.signal(number))

    def ended(self, within_seconds: float) -> None:
        self._on_loop(self._gone(within_seconds), within_seconds)

    def vanish(self, answer: Literal["silence", "unreachable"]) -> None:
        def unplug_and_kill() -> None:
            # In this order: its kernel's FINs must not get out.
            network.unplug_server(self._number, self._cluster, answer)
            self.served.signal(SIGKILL)

        self._once("vanish", unplug_and_kill)

    def move_endpoint(self) -> None:
        def move() -> None:
            api, token = self._control_plane.api, self._control_plane.access.token
            self._on_loop(services.lead(api, token, self._number, self._shared), READY_SECONDS)
            time.sleep(HEARD_SECONDS)

        self._once("move endpoint", move)

    def start_anew(self) -> Server:
        """Raises LabFailure: it has no history that a newcomer would not know."""
        raise LabFailure(f"{self.served.name} has no history to lose")

    async def _gone(self, within_seconds: float) -> None:
        try:
            async with asyncio.timeout(within_seconds):
                await self.served.gone()
        except TimeoutError as error:
            raise LabFailure(
                f"{self.served.name} had not ended after {within_seconds:g} s", advice=f"its log: {self.served.log}"
            ) from error

    def _on_loop(self, work: Coroutine[Any, Any, None], seconds: float) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds + _MARGIN_SECONDS)
