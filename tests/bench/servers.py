"""What the servers of protocols cost: start, memory, and a publish beside a ConfigMap's update.

All in one sandbox, one after the other, so that a ratio compares what ran side by side.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import TypeVar

from watcher import plan, protocols
from watcher.api import ApiServer
from watcher.catalog import Catalog
from watcher.errors import LabUnavailable
from watcher.kernel.processes import family
from watcher.lab import network, sandbox, sockets, sysctls
from watcher.lab.addresses import Server
from watcher.lab.control_plane.binaries import find
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.control_plane.launch import EmbeddedControlPlane
from watcher.lab.control_plane.running import ControlPlane
from watcher.lab.namespace import Namespace
from watcher.lab.proxies import Proxies
from watcher.model import CellPlan
from watcher.programs.environments import cache_folder
from watcher.protocols import Service, Stage, Tenant
from watcher.updater import Trigger, Updater, new_nonce

VARIANTS = {"timer": "600s"}
PUBLISHES = 20

R = TypeVar("R")
Row = tuple[str, float, str, float | None, str]
"""What, value, unit, and the ratio to what."""


async def measured() -> tuple[list[Row], list[str]]:
    """To be run inside the sandbox. Also what could not be measured on this machine, and why."""
    cluster, folder = network.make_cluster(), Path(mkdtemp())
    cluster.write_sysctls(sysctls.endpoint(1.0))
    rows: list[Row] = []
    left_out: list[str] = []
    async with AsyncExitStack() as running:
        stage = await _stage(cluster, folder, running)
        watch = await running.enter_async_context(protocols.load("watch").start(stage))
        tenant = await _tenant(watch, stage, "watch")
        [ms] = await _publish_ms((watch, tenant))
        rows.append((f"publish, watch ({stage.control_plane.version})", ms, "ms", None, ""))
        if isinstance(stage.control_plane, KubernetesControlPlane):
            rows += (await _costs("an own kube-apiserver", lambda: watch.own_server(1, service=False, deaf=False)))[0]
        else:
            left_out.append("an own kube-apiserver: the real control plane is not built")
        for protocol in sorted({*protocols.names()} - {"watch"}):
            if (missing := protocols.load(protocol).missing()) is not None:
                left_out.append(f"{protocol}: {missing}")
            else:
                rows += await _protocol(protocol, replace(stage, variant=VARIANTS.get(protocol, "")), (watch, tenant))
    try:
        rows += (await _costs("HAProxy before the servers", lambda: Proxies.start(cluster, folder, _proxied())))[0]
    except LabUnavailable as missing_proxy:
        left_out.append(f"HAProxy before the servers: {missing_proxy}")
    return rows, left_out


async def _protocol(protocol: str, stage: Stage, watch: tuple[Service, Tenant]) -> list[Row]:
    async def both(service: Service) -> list[float]:
        return await _publish_ms((service, await _tenant(service, stage, protocol)), watch)

    rows, (ms, configmap_ms) = await _costs(
        f"server of {protocol}", lambda: protocols.load(protocol).start(stage), both
    )
    return [*rows, (f"publish, {protocol}", ms, "ms", ms / configmap_ms, "the ConfigMap's update")]


async def _stage(cluster: Namespace, folder: Path, running: AsyncExitStack) -> Stage:
    """On the real control plane where it is built."""
    control_plane: ControlPlane
    if (real := find("auto", cache_folder())) is None:
        embedded = EmbeddedControlPlane.start(cluster, folder, scale=1.0, unserved=lambda _: None)
        control_plane = await running.enter_async_context(embedded)
    else:
        kubernetes = KubernetesControlPlane.start(cluster, folder, binaries=real)
        control_plane = await running.enter_async_context(kubernetes)
    access = control_plane.access
    api = ApiServer(access.host, access.port, access.ca_pem, access.token)
    running.callback((updater := Updater(api, lambda _: None)).close)
    return Stage(cluster, folder, sandbox.SCRATCH, 1.0, api, control_plane, updater, lambda _: None)


async def _nothing(_server: object) -> list[float]:
    return []


async def _costs(
    name: str,
    start: Callable[[], AbstractAsyncContextManager[R]],
    use: Callable[[R], Awaitable[list[float]]] = _nothing,
) -> tuple[list[Row], list[float]]:
    """Of one server; and what ``use`` says of it."""
    before = set(family(os.getpid()))
    began = time.perf_counter()
    async with start() as server:
        seconds = time.perf_counter() - began
        used = await use(server)
        memory = sum(sockets.memory_mib(pid) or 0.0 for pid in set(family(os.getpid())) - before)
    return [(f"{name}: start", seconds, "s", None, ""), (f"{name}: memory", memory, "MiB", None, "")], used


async def _tenant(service: Service, stage: Stage, name: str) -> Tenant:
    at = service.server or Server(stage.api.host, stage.api.port)
    tenant = Tenant(f"{name}/bench/bench#1", Trigger(f"bench-{name}"), Path(mkdtemp()), at, "10.16.0.2")
    await stage.updater.create(tenant.trigger)
    await service.admit(tenant)
    return tenant


async def _publish_ms(*services: tuple[Service, Tenant]) -> list[float]:
    """Of each the median, from before its connection to the server's answer; in turn, so that all meet the same."""
    took: list[list[float]] = [[] for _ in services]
    for _ in range(PUBLISHES):
        for (service, tenant), of_it in zip(services, took, strict=True):
            began = time.perf_counter()
            published = await service.publish(tenant, new_nonce())
            of_it.append((time.perf_counter() - began) * 1000)
            assert published.error is None, published.error
    return [median(of_it) for of_it in took]


def _proxied() -> Sequence[CellPlan]:
    catalog = Catalog.load()
    stack, profile = catalog.stacks["python-urllib3"].stack, catalog.profiles["default"]
    return plan.make(plan.Choice([stack], [profile], [catalog.scenarios["proxy-closed"]], catalog.paths, {}))
