"""Clients send a line every 5 s over one connection, and each answer carries the current nonce."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from watcher.errors import LabFailure
from watcher.lab.addresses import API_ADDRESS, Server
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.own_served import OwnServed
from watcher.lab.served import Served
from watcher.model import Path, Scenario, Stack
from watcher.protocols import Stage, check_variant, unfit_beside
from watcher.protocols._lines import LineService, too_fast
from watcher.servers.echo import PORT

INTERVAL_SECONDS = 5.0


@asynccontextmanager
async def start(stage: Stage) -> AsyncIterator[LineService]:
    arguments = ("echo", "--port", str(PORT))

    def own(number: int, shared: Server, service: bool) -> AbstractAsyncContextManager[OwnServed]:
        if not isinstance(stage.control_plane, KubernetesControlPlane):
            raise LabFailure("servers of scenarios' own need the real control plane")
        return OwnServed.start(
            number,
            stage.cluster,
            "echo",
            arguments,
            shared=shared,
            control_plane=stage.control_plane,
            folder=stage.folder,
            scratch=stage.scratch,
            service=service,
        )

    async with Served.start(
        "echo",
        (*arguments, "--address", API_ADDRESS, "--proxy", API_ADDRESS),
        namespace=stage.cluster,
        folder=stage.folder,
        scratch=stage.scratch,
    ) as served:
        interval = f"{INTERVAL_SECONDS / stage.scale:g}"
        yield LineService(served, PORT, says=b"probe\n", more={"WATCHER_INTERVAL_SECONDS": interval}, own=own)


def missing() -> str | None:
    return None


def unfit(stack: Stack, scenario: Scenario, path: Path, scale: float) -> str | None:
    check_variant(stack)
    return unfit_beside(scenario, path, own=True) or too_fast(INTERVAL_SECONDS, scale)
