"""A ConfigMap is updated; clients ask for it now and then, on one client object, and may find their connection dead.

The server keeps a connection for as long as its client does. kube-apiserver closes one after 90 s without a request, so
that a client which asks every ten minutes never meets an old connection: nothing of what a path does to one could be
seen. So this is the embedded control plane, by itself, with that timer off.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import replace
from functools import partial

from watcher.api import ApiServer
from watcher.lab.addresses import API_ADDRESS, POLL_PORT, Server
from watcher.lab.control_plane.launch import EmbeddedControlPlane, Unservable
from watcher.lab.namespace import Namespace
from watcher.lab.own_served import OwnServed
from watcher.lab.scene import OwnServer
from watcher.model import Path, Scenario, Stack
from watcher.protocols import Stage, Tenant, check_variant, unfit_beside
from watcher.protocols._beside import own_by, to_both
from watcher.protocols.watch import WatchService
from watcher.records import Unserved
from watcher.updater import Published, Updater

NEVER_SECONDS = 1e8


class PollService(WatchService):
    """A server of its own, with triggers of its own; one of a scenario's own has them, too, under the same names."""

    server = Server(API_ADDRESS, POLL_PORT)

    def __init__(self, stage: Stage, own: Callable[..., AbstractAsyncContextManager[OwnServed[EmbeddedControlPlane]]]):
        """``own`` is a protocol's ``Own``."""
        super().__init__(stage)
        self._own = own
        self._updaters: dict[OwnServer, Updater] = {}

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        await self.stage.updater.create(tenant.trigger)
        if tenant.own is not None:
            await self._updaters[tenant.own].create(tenant.trigger)
        return await super().admit(tenant)

    async def publish(self, tenant: Tenant, nonce: str) -> Published:
        return await to_both(
            tenant.own,
            lambda own: (self.stage.updater if own is None else self._updaters[own]).patch(tenant.trigger, nonce),
        )

    @asynccontextmanager
    async def own_server(self, number: int, *, service: bool, deaf: bool) -> AsyncIterator[OwnServer]:
        async with self._own(number, service=service, deaf=deaf) as own:
            with closing(Updater(_api(own.served), lambda _: None)) as self._updaters[own]:
                yield own


@asynccontextmanager
async def start(stage: Stage) -> AsyncIterator[PollService]:
    """With an updater of its own, which writes to this server and tells nobody."""
    at = Server(API_ADDRESS, POLL_PORT)

    def unserved(what: Unservable) -> None:
        stage.emit(Unserved(t=time.monotonic(), what=f"{what.peer}: {what.what}"))

    def serve(
        namespace: Namespace,
        server: Server,
        suffix: str,
        *,
        like: EmbeddedControlPlane | None = None,
        ignore_sigterm: bool = False,
    ) -> AbstractAsyncContextManager[EmbeddedControlPlane]:
        return EmbeddedControlPlane.start(
            namespace,
            stage.folder,
            scale=stage.scale,
            unserved=unserved,
            name=f"poll-server{suffix}",
            listeners=[f"{server.address}:{server.port},keepalive=off,alpn=http/1.1"],
            idle_seconds=NEVER_SECONDS,
            like=like,
            ignore_sigterm=ignore_sigterm,
        )

    async with serve(stage.cluster, at, "") as shared:
        with closing(Updater(api := _api(shared), lambda _: None)) as updater:
            # What takes over must be believed by whoever believed the one before.
            own = own_by(
                stage,
                at,
                partial(serve, like=shared),
                serve_deaf=partial(serve, like=shared, ignore_sigterm=True),
            )
            yield PollService(replace(stage, api=api, control_plane=shared, updater=updater), own)


def _api(server: EmbeddedControlPlane) -> ApiServer:
    access = server.access
    return ApiServer(host=access.host, port=access.port, ca_pem=access.ca_pem, token=access.token)


def missing() -> str | None:
    return None


def unfit(stack: Stack, scenario: Scenario, path: Path, scale: float) -> str | None:  # noqa: ARG001 - its server scales
    check_variant(stack)
    return unfit_beside(scenario, path)
