"""One cluster of a rehearsal: its control plane, the path before it, and what the soak in front of that is given."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from watcher.errors import LabFailure
from watcher.lab import network, sysctls
from watcher.lab import path as lab_path
from watcher.lab.addresses import VIRTUAL_ADDRESS, VIRTUAL_PORT
from watcher.lab.control_plane.api_client import ApiClient
from watcher.lab.control_plane.kubernetes import LOGS, KubernetesControlPlane
from watcher.lab.control_plane.launch import EmbeddedControlPlane
from watcher.lab.control_plane.running import Access, ControlPlane
from watcher.lab.namespace import Namespace
from watcher.lab.sandbox import SCRATCH
from watcher.records import Entry, Packet
from watcher.rehearsal import audit, rights
from watcher.rehearsal.order import ClusterOrder, Touches
from watcher.rehearsal.pod import Pod
from watcher.rehearsal.projected import Projected
from watcher.rehearsal.rights import Administrator

SOAK_LOG = "soak.log"
PATH_LOG = "path.jsonl"
"""What the path did of its own accord: resets, forgotten flows. Its packets are in the pcap files beside it."""
MOST_CAPTURED_OCTETS = 64 << 20
"""Of each link."""


class PathLog:
    """Keeps what a path says of itself; of its packets only how many there were, since the captures have them."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)
        self.packets: Counter[str] = Counter()

    def __call__(self, record: Entry) -> None:
        if isinstance(record, Packet):
            self.packets[f"{record.link} link, {record.direction}"] += 1
        else:
            self._file.write(record.model_dump_json(exclude_none=True).encode() + b"\n")

    def close(self) -> None:
        self._file.close()


class Cluster:
    """A cluster that runs. ``start`` is an asynchronous context manager: ready when entered, gone when left."""

    def __init__(self, order: ClusterOrder, control_plane: ControlPlane, administrator: Administrator) -> None:
        self.order = order
        self.control_plane = control_plane
        self.administrator = administrator
        self.folder = Path(order.folder)
        self.network = network.CellNetwork.named(1)
        self.credentials = Projected()
        self.path_log = PathLog(self.folder / PATH_LOG)
        self.path: lab_path.LabPath
        self._home = SCRATCH / "pod"

    @classmethod
    @asynccontextmanager
    async def start(cls, order: ClusterOrder) -> AsyncIterator[Cluster]:
        """Raises WatcherError when the cluster cannot be made."""
        folder = Path(order.folder)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        space = network.make_cluster()
        space.write_sysctls(sysctls.endpoint(order.path.timing.scale))
        async with _control_plane(order, space, folder) as control_plane:
            access = control_plane.access
            client = ApiClient(access.host, access.port, access.ca_pem)
            try:
                cluster = cls(order, control_plane, Administrator(client, access.token))
                async with cluster._path(space):
                    await cluster._admit(access)
                    yield cluster
            finally:
                client.close()

    @asynccontextmanager
    async def _path(self, space: Namespace) -> AsyncIterator[None]:
        await asyncio.to_thread(Namespace.create, [self.network.client.name, self.network.path.name])
        await asyncio.to_thread(network.make_cell, self.network, space)
        await asyncio.to_thread(lab_path.prepare, self.order.path, self.network)
        self.path = lab_path.LabPath(
            self.order.path, self.network, self.folder, self.path_log, most_octets=MOST_CAPTURED_OCTETS
        )
        try:
            yield
        finally:
            self.path.close()
            self.path_log.close()

    async def _admit(self, access: Access) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        kubeconfig = SCRATCH / "administrator.json"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(self.kubeconfig(access))
        await rights.admit(self.order, self.administrator, str(kubeconfig))
        await self.renew_token()
        token = (self.credentials.folder / "token").read_text()
        await rights.effective(self.order, self.administrator.client, token)

    def kubeconfig(self, access: Access) -> str:
        """The administrator's, from the lab's own side."""
        authority = SCRATCH / "authority.crt"
        authority.write_text(access.ca_pem)
        place = {"server": f"https://{access.host}:{access.port}", "certificate-authority": str(authority)}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": self.order.name,
                "contexts": [{"name": self.order.name, "context": {"cluster": "lab", "user": "administrator"}}],
                "clusters": [{"name": "lab", "cluster": place}],
                "users": [{"name": "administrator", "user": {"token": access.token}}],
            }
        )

    async def renew_token(self) -> None:
        """Puts a fresh token into the pod's files. Raises LabFailure, or urllib3's HTTPError."""
        self.put_token(await rights.token(self.order, self.administrator))

    def put_token(self, token: str) -> None:
        """Any text, good or bad."""
        access = self.control_plane.access
        self.credentials.write({"token": token, "ca.crt": access.ca_pem, "namespace": self.order.namespace})

    async def keep_token(self) -> None:
        """Renews the token when the kubelet would; for ever."""
        wait = rights.TOKEN_SECONDS * rights.RENEW_AT
        while True:
            await asyncio.sleep(wait)
            try:
                await self.renew_token()
                wait = rights.TOKEN_SECONDS * rights.RENEW_AT
            except (LabFailure, HTTPError):
                wait = rights.RETRY_SECONDS

    async def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        log: str = SOAK_LOG,
        output: str | None = None,
    ) -> Pod:
        """Starts a program as the pod's: behind the path, with the pod's environment and files."""
        own = {
            "HOME": str(self._home),
            "KUBERNETES_SERVICE_HOST": VIRTUAL_ADDRESS,
            "KUBERNETES_SERVICE_PORT": str(VIRTUAL_PORT),
        }
        return await Pod.start(
            arguments,
            {**self.order.environment, **own, **(environment or {})},
            network=self.network.client,
            folder=self._home,
            log=self.folder / log,
            output=None if output is None else self.folder / output,
        )

    async def config_maps(self) -> list[dict[str, Any]]:
        """All of the soak's namespace. Raises LabFailure, or urllib3's HTTPError."""
        path = f"/api/v1/namespaces/{self.order.namespace}/configmaps"
        answer = await self.administrator.ask("GET", path)
        if answer.status != 200:
            raise LabFailure(f"GET {path}: {answer.problem}")
        return list(answer.body.get("items", []))

    def touches(self) -> Touches | None:
        """The soak's updates in the API server's audit log; None on the embedded control plane."""
        if self.order.control_plane is None:
            return None
        user = audit.user_of(self.order.namespace, self.order.account)
        lines: list[str] = []
        for log in sorted((self.folder / LOGS).glob("audit-*.log")):
            lines += log.read_text(errors="replace").splitlines()
        return audit.touches(lines, user, self.order.namespace)


def _control_plane(
    order: ClusterOrder, space: Namespace, folder: Path
) -> AbstractAsyncContextManager[KubernetesControlPlane] | AbstractAsyncContextManager[EmbeddedControlPlane]:
    scale = order.path.timing.scale
    if order.control_plane is None:
        return EmbeddedControlPlane.start(space, folder, scale=scale, unserved=lambda _: None)
    return KubernetesControlPlane.start(
        space, folder, binaries=order.control_plane, scale=scale, etcd_quota_octets=order.etcd_quota_octets
    )
