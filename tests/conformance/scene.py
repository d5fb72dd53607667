"""Inside the sandbox: one control plane, started by its own launcher, and all probes put to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.conformance import (
    bookmarks,
    connections,
    kubectl,
    lists,
    objects,
    refusals,
    unserved,
    watches,
)
from tests.conformance.client import Address, Api, Json
from tests.conformance.probe import Plane, ask_all, config_map
from watcher.lab import network, sysctls
from watcher.lab.control_plane.binaries import Binaries
from watcher.lab.control_plane.component import Component
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.control_plane.launch import EmbeddedControlPlane, Unservable
from watcher.lab.control_plane.running import Access
from watcher.lab.namespace import Namespace

PROBES_ARE_IN = (bookmarks, connections, lists, objects, refusals, unserved, watches)
HISTORY_CHANGES = 1000
"""What the embedded one remembers of a resource."""


def _cluster() -> Namespace:
    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(1.0))
    return cluster


def address_of(access: Access) -> Address:
    return Address(access.host, access.port, access.ca_pem, access.token)


async def outlive_the_history(api: Api) -> None:
    """More changes than the embedded one remembers."""
    maps = "/api/v1/namespaces/default/configmaps"
    await api.create(maps, config_map("busy"))

    async def change(start: int) -> None:
        for number in range(start, HISTORY_CHANGES + 20, 4):
            answer = await api.patch(f"{maps}/busy", {"data": {"v": str(number)}})
            assert answer.status == 200

    await asyncio.gather(*(change(start) for start in range(4)))


async def embedded_scene(folder: str) -> Json:
    """What the embedded control plane answers, and what it reported as not served."""
    unserved: list[str] = []

    def note(what: Unservable) -> None:
        unserved.append(what.what)

    async with (
        EmbeddedControlPlane.start(_cluster(), Path(folder), scale=1.0, unserved=note) as running,
        Api.connect(address_of(running.access)) as api,
    ):
        found = await _ask(Plane(api, lambda: outlive_the_history(api)))
    return {"version": running.version, "found": found, "unserved": unserved}


async def kubernetes_scene(folder: str, etcd: str, kube_apiserver: str, version: str) -> Json:
    """What the real control plane answers."""
    server = Path(kube_apiserver)
    binaries = Binaries(server.parent, server, Path(etcd), None, version, "", "test")
    cluster = _cluster()
    async with (
        KubernetesControlPlane.start(cluster, Path(folder), binaries=binaries) as running,
        Api.connect(address_of(running.access)) as api,
        _restarting(running, cluster, api, folder) as restart,
    ):
        found = await _ask(Plane(api, restart))
    return {"version": running.version, "found": found, "unserved": []}


async def _ask(plane: Plane) -> dict[str, Json]:
    async with asyncio.TaskGroup() as group:
        commands = group.create_task(kubectl.session(plane.api))
        asking = group.create_task(ask_all(plane, beside=commands))
    return asking.result() | {"kubectl": commands.result()}


@asynccontextmanager
async def _restarting(
    running: KubernetesControlPlane, cluster: Namespace, api: Api, folder: str
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Starts the API server again, on the same etcd: its cache, which all watches are served from, begins anew.

    (By itself a busy server forgets what is older than about a minute, an upgraded one all.)
    """
    (old,) = [each for each in running.components if each.name.startswith("kube-apiserver")]
    process = Path(f"/proc/{old.pid}")
    arguments = process.joinpath("cmdline").read_text().rstrip("\0").split("\0")
    directory = process.joinpath("cwd").readlink()
    started: list[Component] = []

    async def restart() -> None:
        await old.stop()
        log = Path(folder) / "kube-apiserver-again.log"
        again = await Component.start("kube-apiserver-again", arguments, namespace=cluster, log=log, folder=directory)
        started.append(again)
        async with asyncio.timeout(60):
            while not await _ready(api):  # noqa: ASYNC110 - another process becomes ready
                await asyncio.sleep(0.1)

    try:
        yield restart
    finally:
        for component in started:
            await component.stop()


async def _ready(api: Api) -> bool:
    try:
        return (await api.get("/readyz")).status == 200
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False
