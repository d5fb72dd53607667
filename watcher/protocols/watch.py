"""A ConfigMap of the API server is updated; clients watch it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from watcher.errors import LabFailure
from watcher.lab.addresses import Server
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.control_plane.own import OwnApiServer
from watcher.lab.scene import OwnServer
from watcher.model import Introduction, Path, Scenario, Stack
from watcher.programs import probe
from watcher.programs.probe import ProbeResult
from watcher.protocols import Stage, Tenant, check_variant
from watcher.records import ProbedTo
from watcher.updater import Published

INTRODUCTION = Introduction(
    client="Kubernetes client",
    clients_do="real client libraries watch a ConfigMap",
    happens="the ConfigMap is changed",
    connected="watching",
)


class WatchService:
    """The stage's API server."""

    server: Server | None = None

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._tokens: dict[str, str] = {}

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        # By file: given as data, libraries write it to temporary files of their own and leave them behind.
        authority = tenant.scratch / "ca.pem"
        authority.write_text(self.stage.api.ca_pem)
        token = await self.stage.control_plane.admit(tenant.trigger.namespace)
        self._tokens[tenant.cell] = token
        file = tenant.scratch / "kubeconfig"
        file.write_text(json.dumps(_kubeconfig(tenant, str(authority), token)))
        return {"KUBECONFIG": str(file)}

    async def publish(self, tenant: Tenant, nonce: str) -> Published:
        return await self.stage.updater.patch(tenant.trigger, nonce)

    def own_server(
        self,
        number: int,
        *,
        service: bool,
        deaf: bool,  # noqa: ARG002 - kube-apiserver cannot be told to be
    ) -> AbstractAsyncContextManager[OwnServer]:
        control_plane = self.stage.control_plane
        if not isinstance(control_plane, KubernetesControlPlane):
            raise LabFailure("API servers of scenarios' own need the real control plane")
        return OwnApiServer.start(control_plane, self.stage.cluster, number, service=service)

    def probe(self, tenant: Tenant, to: ProbedTo, seconds: float, *, since: str) -> ProbeResult:
        at, ca_pem = tenant.virtual, self.stage.api.ca_pem
        if to == "history":
            trigger = (tenant.trigger.namespace, tenant.trigger.name)
            return probe.resume(at.address, at.port, ca_pem, seconds, self._tokens[tenant.cell], trigger, since)
        return probe.answer(at.address, at.port, ca_pem, seconds)


@asynccontextmanager
async def start(stage: Stage) -> AsyncIterator[WatchService]:
    yield WatchService(stage)


def missing() -> str | None:
    return None


def unfit(stack: Stack, scenario: Scenario, path: Path, scale: float) -> str | None:  # noqa: ARG001 - it fits them all
    check_variant(stack)
    return None


def _kubeconfig(tenant: Tenant, authority: str, token: str) -> dict[str, Any]:
    """As JSON, which every YAML reader reads too."""
    server = f"https://{tenant.virtual.address}:{tenant.virtual.port}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [
            {"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": tenant.trigger.namespace}}
        ],
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "lab", "user": {"token": token}}],
    }
