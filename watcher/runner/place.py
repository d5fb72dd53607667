"""What stands around one cell's client: its namespaces, its path, the path's kube-proxy; and what is seen there."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from watcher import faults
from watcher.errors import LabFailure
from watcher.lab import local_pod, network, path, sockets
from watcher.lab.addresses import (
    API_ADDRESS,
    API_KEEPALIVE_PORT,
    HEADLESS_NAME,
    VIRTUAL_ADDRESS,
    VIRTUAL_PORT,
    Server,
    own_virtual,
)
from watcher.lab.control_plane import kube_proxy
from watcher.lab.control_plane.kube_proxy import KubeProxy
from watcher.lab.names import Names
from watcher.lab.path import LabPath
from watcher.lab.scene import OwnServer, Scene
from watcher.model import Balancer, CellPlan
from watcher.records import Moment, Socket, Sockets
from watcher.runner.client import Client
from watcher.runner.group import Group, Together
from watcher.runner.lab import Lab


class Place:
    """One cell's, for a client on a path. ``folder`` is where its evidence is kept, ``scratch`` what ends with it."""

    def __init__(self, lab: Lab, plan: CellPlan, number: int, client: Client, folder: Path, scratch: Path) -> None:
        self._lab = lab
        self._plan = plan
        self._client = client
        self._folder = folder
        self._group = lab.group_of(plan)
        self._scratch = scratch
        self.network = network.CellNetwork.named(number, *_way(lab, plan, self._group))
        if plan.headless:
            self.network = replace(self.network, direct=frozenset({self._own.server.address, self._shared.address}))
        self.names: Names | None = None
        """Once it is made, where the client connects by name."""
        self._kube_proxy: KubeProxy | None = None
        self._scene: Scene | None = None

    @property
    def path(self) -> LabPath:
        return self.scene.path

    @property
    def scene(self) -> Scene:
        if self._scene is None:
            raise LabFailure("the cell's network is not made yet")
        return self._scene

    @property
    def front(self) -> Server:
        """What the client is told to connect to."""
        if self._plan.headless:
            return Server(HEADLESS_NAME, self._shared.port)
        return Server(self.network.virtual, VIRTUAL_PORT)

    @property
    def front_now(self) -> Server:
        """The same for who cannot see the client's names."""
        return self.front if self.names is None else Server(self.names.address, self._shared.port)

    @property
    def _own(self) -> OwnServer:
        if self._group is None:
            raise LabFailure("the cell's path leads to a pod of its scenario's own, and there is none")
        return self._group.own

    @property
    def _shared(self) -> Server:
        return self._lab.services[self._plan.service].server or Server(API_ADDRESS, API_KEEPALIVE_PORT)

    async def make(self) -> None:
        """Raises LabFailure; what has been made by then, ``remove`` takes away."""
        async with self._lab.gate.preparation():
            await asyncio.to_thread(self._link)
        await self._balance()
        lab, plan = self._lab, self._plan
        self._scene = Scene(
            path=LabPath(plan, self.network, self._folder, lab.emit),
            cluster=lab.cluster,
            shared=self._shared,
            pids=self._client.pids,
            own=Together(self._group, str(plan.id)) if self._group is not None else None,
            names=self.names,
            proxy=lab.proxies if plan.proxy else None,
            forgetful=lab.history.server if lab.history is not None else None,
        )

    def check(self, *, rules: bool = True) -> None:
        """Raises ControlPlaneFailure where something has ended that new connections go through.

        Without ``rules`` not for kube-proxy: once they are made, they stay.
        """
        if rules and self._kube_proxy is not None:
            self._kube_proxy.check()
        if self._plan.proxy and self._lab.proxies is not None:
            self._lab.proxies.check()
        if self._lab.history is not None and faults.FORGETFUL in faults.load(self._plan.fault).NEEDS:
            self._lab.history.check()

    async def look_at_sockets(self, moment: Moment) -> None:
        """Records both ends of the client's connections, as long as it lives."""
        if not self._client.alive:
            return
        cell = str(self._plan.id)
        seen = await asyncio.to_thread(self._client.sockets)
        self._lab.emit(Sockets(t=time.monotonic(), cell=cell, moment=moment, sockets=seen))
        served = await asyncio.to_thread(self._served)
        self._lab.emit(Sockets(t=time.monotonic(), cell=cell, moment=moment, side="server", sockets=served))

    async def remove(self) -> None:
        """Last evidence, then everything of this cell away; harmless where it was never made."""
        if self._kube_proxy is not None:
            await self._kube_proxy.stop()
        if self._scene is None:
            return
        await self.path.look("close")
        # Before the fault is undone: what passes then is no evidence.
        self.path.close()
        with suppress(LabFailure):
            await asyncio.to_thread(faults.load(self._plan.fault).heal, self._scene)
        await asyncio.to_thread(network.remove_cell, self.network)

    def _link(self) -> None:
        network.make_cell(self.network, self._lab.cluster, owns_virtual=self._plan.balancer is Balancer.LAB)
        path.prepare(self._plan, self.network)
        if self._plan.same_node:
            local_pod.attach(self.network, self._own.namespace, self._own.server.address)
        if self._plan.headless:
            self.names = Names(self._scratch / "hosts", self._own.server.address)

    async def _balance(self) -> None:
        """Starts the path's kube-proxy, where it has one; its rules are there when this returns."""
        if self._plan.balancer is Balancer.LAB:
            return
        if self._lab.kube_proxy is None:
            raise LabFailure("the cell needs kube-proxy, and there is none")
        token = await self._lab.control_plane.admit_node(self.network.path.name, self.network.node_address)
        kubeconfig = kube_proxy.access(self._lab.api.ca_pem, token)
        async with self._lab.gate.start():
            self._kube_proxy = await KubeProxy.start(
                self._lab.kube_proxy, self._plan.balancer, self.network, kubeconfig, folder=self._folder
            )
            await self._kube_proxy.ready()

    def _served(self) -> tuple[Socket, ...]:
        """The client's connections as the servers' side has them: of the scenario's own, and of the shared one."""
        own = (self._group.own.namespace,) if self._group is not None else ()
        client = self.network.client_address
        return tuple(socket for space in (*own, self._lab.cluster) for socket in sockets.of_peer(space, client))


def _way(lab: Lab, plan: CellPlan, group: Group | None) -> tuple[str, Server | None]:
    """What the client connects to, and where its path leads; None is the API server of all cells."""
    if group is not None:
        virtual = VIRTUAL_ADDRESS if plan.balancer is Balancer.LAB else own_virtual(group.number)
        return virtual, group.own.server
    if plan.proxy and lab.proxies is not None:
        return VIRTUAL_ADDRESS, lab.proxies.server(plan)
    return VIRTUAL_ADDRESS, lab.services[plan.service].server
