"""The real control plane as a probe's target, inside the sandbox."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from watcher.errors import LabFailure
from watcher.lab import network, sysctls
from watcher.lab.addresses import API_ADDRESS
from watcher.lab.control_plane.api_client import ApiClient
from watcher.lab.control_plane.binaries import Binaries
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.namespace import Namespace
from watcher.probe.target import ANOTHER, TRIGGER, kubeconfig_file, listening


class KubernetesTarget:
    """Inside the sandbox: etcd, kube-apiserver and HAProxy. Each program has a service account of its own."""

    def __init__(self, cluster: Namespace, running: KubernetesControlPlane, api: ApiClient) -> None:
        self.control_plane = f"kubernetes {running.version.removeprefix('v')}, HTTP/2 for those that offer it"
        self.network: Path | None = cluster.path
        self._cluster = cluster
        self._running = running
        self._api = api
        self._tokens: dict[str, str] = {}

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path, binaries: Binaries) -> AsyncIterator[KubernetesTarget]:
        """Raises LabUnavailable and ControlPlaneFailure."""
        cluster = network.make_cluster()
        cluster.write_sysctls(sysctls.endpoint(1.0))
        async with KubernetesControlPlane.start(cluster, folder, binaries=binaries) as running:
            access = running.access
            api = ApiClient(access.host, access.port, access.ca_pem)
            try:
                yield cls(cluster, running, api)
            finally:
                api.close()

    async def make_namespace(self) -> str:
        namespace = f"probe-{len(self._tokens) + 1}"
        self._tokens[namespace] = ""
        await self._ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for name in (TRIGGER, ANOTHER):
            body = {"metadata": {"name": name}, "data": {"nonce": secrets.token_hex(8)}}
            await self._ask("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
        self._tokens[namespace] = await self._running.admit(namespace)
        return namespace

    async def touch(self, namespace: str, name: str = TRIGGER) -> str:
        nonce = secrets.token_hex(8)
        body = {"metadata": {"name": name}, "data": {"nonce": nonce}}
        await self._ask("PUT", f"/api/v1/namespaces/{namespace}/configmaps/{name}", body)
        return nonce

    def kubeconfig(self, namespace: str, folder: Path, address: str | None = None) -> Path:
        access = self._running.access
        place = address or f"{access.host}:{access.port}"
        return kubeconfig_file(folder, place, access.ca_pem, self._tokens[namespace])

    def listen(self) -> socket.socket:
        return self._cluster.enter(lambda: listening(API_ADDRESS))

    async def _ask(self, method: str, path: str, body: dict[str, Any]) -> None:
        answer = await self._api.request(method, path, self._running.access.token, body)
        if answer.status not in (200, 201, 409):
            raise LabFailure(f"{method} {path}: {answer.problem}")
