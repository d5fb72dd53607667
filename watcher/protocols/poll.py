"""A ConfigMap is updated; clients ask for it now and then, on one client object, and may find their connection dead.

The server keeps a connection for as long as its client does. kube-apiserver closes one after 90 s without a request, so
that a client which asks every ten minutes never meets an old connection: nothing of what a path does to one could be
seen. So this is the embedded control plane, by itself, with that timer off.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from watcher.api import ApiServer
from watcher.lab.addresses import API_ADDRESS, POLL_PORT, Server
from watcher.lab.control_plane.launch import EmbeddedControlPlane, Unservable
from watcher.model import Path, Scenario, Stack
from watcher.protocols import Stage, Tenant, check_variant, unfit_beside
from watcher.protocols.watch import WatchService
from watcher.records import Unserved
from watcher.updater import Updater

NEVER_SECONDS = 1e8


class PollService(WatchService):
    """A server of its own, with triggers of its own."""

    server = Server(API_ADDRESS, POLL_PORT)

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        await self.stage.updater.create(tenant.trigger)
        return await super().admit(tenant)


@asynccontextmanager
async def start(stage: Stage) -> AsyncIterator[PollService]:
    """With an updater of its own, which writes to this server and tells nobody."""

    def unserved(what: Unservable) -> None:
        stage.emit(Unserved(t=time.monotonic(), what=f"{what.peer}: {what.what}"))

    async with EmbeddedControlPlane.start(
        stage.cluster,
        stage.folder,
        scale=stage.scale,
        unserved=unserved,
        name="poll-server",
        listeners=[f"{API_ADDRESS}:{POLL_PORT},keepalive=off,alpn=http/1.1"],
        idle_seconds=NEVER_SECONDS,
    ) as server:
        access = server.access
        api = ApiServer(host=access.host, port=access.port, ca_pem=access.ca_pem, token=access.token)
        updater = Updater(api, lambda _: None)
        try:
            yield PollService(replace(stage, api=api, control_plane=server, updater=updater))
        finally:
            updater.close()


def missing() -> str | None:
    return None


def unfit(stack: Stack, scenario: Scenario, path: Path, scale: float) -> str | None:  # noqa: ARG001 - its server scales
    check_variant(stack)
    return unfit_beside(scenario, path)
