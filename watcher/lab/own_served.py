"""A server of a scenario's own that is no API server, in a namespace of its own, to do harm to. Any process will do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any, Generic, Literal, Protocol, TypeVar

from watcher.errors import LabFailure
from watcher.lab import network, sysctls
from watcher.lab.addresses import Server, own_link
from watcher.lab.control_plane import services
from watcher.lab.control_plane.kubernetes import READY_SECONDS, KubernetesControlPlane
from watcher.lab.control_plane.own import HEARD_SECONDS
from watcher.lab.control_plane.running import ControlPlane
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Once

_MARGIN_SECONDS = 10.0


class Process(Protocol):
    """What is harmed."""

    name: str
    log: Path

    @property
    def running(self) -> bool: ...

    def signal(self, number: Signals) -> None:
        """Does nothing when it has ended."""

    async def gone(self) -> None:
        """Waits until it has ended."""


P = TypeVar("P", bound=Process)


class OwnServed(Generic[P]):
    """One of them; a ``scene.OwnServer``. ``number`` names its link, its address and its ClusterIP."""

    def __init__(
        self,
        number: int,
        cluster: Namespace,
        namespace: Namespace,
        served: P,
        *,
        server: Server,
        shared: Server,
        control_plane: KubernetesControlPlane,
        deaf: bool = False,
    ) -> None:
        self.served = served
        self.server = server
        self.namespace = namespace
        self.deaf = deaf
        self._number = number
        self._cluster = cluster
        self._shared = shared
        self._control_plane = control_plane
        self._asked_to_end = False
        self._loop = asyncio.get_running_loop()
        self._once = Once()

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        number: int,
        cluster: Namespace,
        serve: Callable[[Namespace, Server, str], AbstractAsyncContextManager[P]],
        *,
        shared: Server,
        control_plane: ControlPlane,
        service: bool,
        deaf: bool = False,
    ) -> AsyncIterator[OwnServed[P]]:
        """Ready when entered, gone when left. It listens on the port of ``shared``, which takes over from it.

        ``serve`` starts it: where it lives, where it listens, and what its name ends with. ``service``: with a Service
        that kube-proxies lead to it by. ``deaf``: what ``serve`` starts ignores SIGTERM. Raises LabFailure.
        """
        if not isinstance(control_plane, KubernetesControlPlane):
            raise LabFailure("servers of scenarios' own need the real control plane")
        server = Server(own_link(number).far, shared.port)
        namespace = await asyncio.to_thread(network.make_server, number, cluster)
        api, token = control_plane.api, control_plane.access.token
        try:
            await asyncio.to_thread(namespace.write_sysctls, sysctls.endpoint(control_plane.scale))
            async with AsyncExitStack() as running:
                # Only so many at once: some need seconds of a core before they are ready.
                async with control_plane.starting:
                    served = await running.enter_async_context(serve(namespace, server, f"-own-{number}"))
                if service:
                    await services.make(api, token, number, server)
                yield cls(
                    number,
                    cluster,
                    namespace,
                    served,
                    server=server,
                    shared=shared,
                    control_plane=control_plane,
                    deaf=deaf,
                )
        finally:
            # Where etcd or the API server broke, the run ends for that reason, not for this one.
            with suppress(LabFailure):
                if service:
                    await services.remove(api, token, number)
            await asyncio.to_thread(network.remove_server, number, cluster)

    def serves(self) -> bool:
        """Whether it has clients. Raises LabFailure where it has ended and nobody had asked it to."""
        if not self.served.running and not self._asked_to_end:
            raise LabFailure(f"{self.served.name} ended of its own accord", advice=f"its log: {self.served.log}")
        return self.served.running

    def honours(self, namespace: str) -> None:
        """It serves everybody."""

    def signal(self, number: Signals) -> None:
        self._once(f"signal {number}", lambda: self._signal(number))

    def ended(self, within_seconds: float) -> None:
        self._on_loop(self._gone(within_seconds), within_seconds)

    def vanish(self, answer: Literal["silence", "unreachable"]) -> None:
        def unplug_and_kill() -> None:
            # In this order: its kernel's FINs must not get out.
            network.unplug_server(self._number, self._cluster, answer)
            self._signal(SIGKILL)

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

    def _signal(self, number: Signals) -> None:
        if self.serves():
            # Of one that is deaf it is the lab's failure when it ends all the same: nothing of that scenario is shown.
            if not (self.deaf and number == SIGTERM):
                self._asked_to_end = True
            self.served.signal(number)

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
