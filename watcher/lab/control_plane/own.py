"""An API server of a scenario's own, on the same etcd as the shared one, in a namespace of its own, to do harm to.

Where kube-proxy is the path's balancer, it has a Service of its own beside it, whose EndpointSlice is made by hand.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import asynccontextmanager, suppress
from signal import SIGKILL, Signals
from typing import Any, Literal

from urllib3.exceptions import HTTPError

from watcher.errors import ControlPlaneFailure, LabFailure
from watcher.lab import network, sysctls
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, Server, own_link
from watcher.lab.control_plane import admission, services
from watcher.lab.control_plane.api_client import ApiClient, ask
from watcher.lab.control_plane.component import Component
from watcher.lab.control_plane.kubernetes import READY_SECONDS, KubernetesControlPlane, Place
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Once

HEARD_SECONDS = 1.5
"""How long kube-proxy is given after an endpoint has moved. It hears by its watch, within milliseconds, but writes its
rules at most once a second (its ``minSyncPeriod``). Real seconds, which no scale shortens; with much more, a read
timeout that is divided by 10 would fire before the fault is done."""
WRITES = 5
"""Changes made before a server starts anew. One is enough for etcd's revision to pass what any client knows."""
ANEW_PORT = API_KEEPALIVE_PORT + 1
"""Of the one that is started beside it."""
_PAUSE_SECONDS = 0.05
_MARGIN_SECONDS = 10.0


class OwnApiServer:
    """One of them; a ``scene.OwnServer``. ``number`` names its link, its address and its ClusterIP.

    Its methods may be called from any thread but the event loop's own, which does their work.
    """

    deaf = False
    """kube-apiserver ends on SIGTERM, and has no flag against that."""

    def __init__(
        self, number: int, cluster: Namespace, namespace: Namespace, control_plane: KubernetesControlPlane
    ) -> None:
        self.server = Server(own_link(number).far, API_KEEPALIVE_PORT)
        self.namespace = namespace
        self._number = number
        self._cluster = cluster
        self._control_plane = control_plane
        self._anew = Server(self.server.address, ANEW_PORT)
        self._client = ApiClient(self.server.address, self.server.port, control_plane.access.ca_pem)
        self._components: list[Component] = []
        self._asked_to_end = False
        self._obstacle = "not asked"
        self._loop = asyncio.get_running_loop()
        self._once = Once()

    @classmethod
    @asynccontextmanager
    async def start(
        cls, control_plane: KubernetesControlPlane, cluster: Namespace, number: int, *, service: bool
    ) -> AsyncIterator[OwnApiServer]:
        """Ready when entered, gone when left. ``service``: with a Service that kube-proxies lead to it by.

        Its logs lie beside the control plane's, and its end ends nothing else. Raises ControlPlaneFailure, naming its
        log, when it does not get ready.
        """
        namespace = await asyncio.to_thread(network.make_server, number, cluster)
        own = cls(number, cluster, namespace, control_plane)
        try:
            await asyncio.to_thread(namespace.write_sysctls, sysctls.endpoint(control_plane.scale))
            # Only so many at once: each needs seconds of a core before it is ready.
            async with control_plane.starting:
                await own._start(f"own-{number}", own.server, own._client)
            if service:
                await services.make(control_plane.api, control_plane.access.token, number, own.server)
            yield own
        finally:
            await own._remove(service=service)

    def honours(self, namespace: str) -> None:
        honours = admission.honours(self._client, self._control_plane.access.token, namespace)
        self._on_loop(honours, admission.EFFECTIVE_SECONDS)

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
            running, shared = self._control_plane, Server(API_ADDRESS, API_KEEPALIVE_PORT)
            self._on_loop(services.lead(running.api, running.access.token, self._number, shared), READY_SECONDS)
            time.sleep(HEARD_SECONDS)

        self._once("move endpoint", move)

    def start_anew(self) -> Server:
        self._once("start anew", lambda: self._on_loop(self._start_anew(), 2 * READY_SECONDS))
        return self._anew

    def memory_mib(self) -> float | None:
        """Largest resident memory so far, in MiB; None when it has ended."""
        return self._components[0].memory_mib() if self._components else None

    def _signal(self, number: Signals) -> None:
        component = self._running()
        self._asked_to_end = True
        component.signal(number)

    def _running(self) -> Component:
        """Raises ControlPlaneFailure where it has ended and nobody had asked it to: no fault could have done that."""
        component = self._components[0]
        if not component.running and not self._asked_to_end:
            raise ControlPlaneFailure(f"{component.name} ended of its own accord", log=str(component.log))
        return component

    async def _gone(self, within_seconds: float) -> None:
        component = self._running()
        try:
            async with asyncio.timeout(within_seconds):
                await component.gone()
        except TimeoutError as error:
            raise ControlPlaneFailure(
                f"{component.name} had not ended after {within_seconds:g} s", log=str(component.log)
            ) from error

    async def _start_anew(self) -> None:
        self._running()
        await self._change()
        access = self._control_plane.access
        client = ApiClient(self._anew.address, self._anew.port, access.ca_pem)
        try:
            await self._start(f"own-{self._number}-anew", self._anew, client)
        finally:
            client.close()

    async def _change(self) -> None:
        """Moves etcd's revision on, past what any client of this server knows."""
        api, token = self._control_plane.api, self._control_plane.access.token
        name, path = services.name_of(self._number), f"/api/v1/namespaces/{services.NAMESPACE}/configmaps"
        await ask(api, "POST", token, path, {"metadata": {"name": name}})
        for _ in range(WRITES):
            body = {"metadata": {"name": name}, "data": {"change": secrets.token_hex(8)}}
            await ask(api, "PUT", token, f"{path}/{name}", body)

    async def _start(self, name: str, server: Server, client: ApiClient) -> None:
        """Returns when it is ready."""
        place = Place(self.namespace, server.address, server.port)
        component = await self._control_plane.start_further(name, place)
        self._components.append(component)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await component.unless_ended(self._answers(client))
        except TimeoutError as error:
            raise ControlPlaneFailure(
                f"{component.name} was not ready after {READY_SECONDS:g} s: {self._obstacle}", log=str(component.log)
            ) from error

    async def _answers(self, client: ApiClient) -> None:
        while True:
            try:
                answer = await client.request("GET", "/readyz", self._control_plane.access.token, retries=0)
                if answer.status == 200:
                    return
                self._obstacle = f"/readyz: {answer.problem}"
            except HTTPError as error:  # not there yet; if it never comes, its end or the time limit says so
                self._obstacle = f"/readyz: {error}"
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _remove(self, *, service: bool) -> None:
        self._asked_to_end = True
        await asyncio.gather(*(component.stop() for component in self._components))
        self._client.close()
        # Where etcd or the shared server broke, the run ends for that reason, not for this one.
        with suppress(LabFailure):
            if service:
                await services.remove(self._control_plane.api, self._control_plane.access.token, self._number)
        await asyncio.to_thread(network.remove_server, self._number, self._cluster)

    def _on_loop(self, work: Coroutine[Any, Any, None], seconds: float) -> None:
        """Has the event loop do it, which has the processes and the connections; waits in this thread."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            future.result(seconds + _MARGIN_SECONDS)
        except FutureTimeout as error:
            if not future.done():
                future.cancel()
                raise LabFailure(f"the API server {self.server.address} was not done after {seconds:g} s") from error
            raise
