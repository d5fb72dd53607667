"""The real control plane: etcd, kube-apiservers and HAProxy before them, in the lab's namespaces.

API_ADDRESS:API_PORT            HAProxy, TCP mode ──> every API server in turn   no TCP keepalive
<place>:API_KEEPALIVE_PORT      the API server itself                            its own, after 180 s
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from watcher.errors import ControlPlaneFailure
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, API_PORT
from watcher.lab.control_plane import admission, apiserver, etcd, haproxy
from watcher.lab.control_plane.api_client import ApiClient
from watcher.lab.control_plane.apiserver import Place
from watcher.lab.control_plane.binaries import Binaries
from watcher.lab.control_plane.certificates import Authority
from watcher.lab.control_plane.component import Component
from watcher.lab.control_plane.running import Access
from watcher.lab.namespace import Namespace
from watcher.lab.sandbox import SCRATCH

READY_SECONDS = 60.0
"""Where the machine is busy; 3 s where it is not."""
LOGS = "control-plane"
"""The folder in the run's: a log of each component, the audit logs, the configurations."""
_PAUSE_SECONDS = 0.02


class KubernetesControlPlane:
    """The real control plane, running."""

    def __init__(self, access: Access, servers: list[ApiClient], front: ApiClient, scale: float) -> None:
        self.access = access
        self.scale = scale
        self.version = ""
        """What the API server calls itself."""
        self.serving = (Path(), Path())
        """PEM files of the API servers' certificate chain and its key, once they have been started."""
        self.etcd_socket: Path | None = None
        """Where etcd answers, once it has been started."""
        self.starting = asyncio.Semaphore(os.cpu_count() or 1)
        """Held by who starts a further API server, until it is ready."""
        self._servers = servers
        self._front = front
        self._components: list[Component] = []
        self._launch: Callable[[str, Place], Awaitable[Component]] | None = None
        self._obstacle = "etcd does not listen"
        """What it is not ready for, as far as is known."""

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        cluster: Namespace,
        folder: Path,
        *,
        binaries: Binaries,
        scale: float = 1.0,
        places: Sequence[Place] = (),
        etcd_quota_octets: int | None = None,
    ) -> AsyncIterator[KubernetesControlPlane]:
        """Ready when entered. One API server runs in each of ``places``, all on one etcd; default is one server, in
        the cluster's namespace.

        Raises LabUnavailable where HAProxy is missing, ControlPlaneFailure, naming the log, when it does not get
        ready. Nothing is left running then, or after the end.
        """
        proxy = haproxy.binary()
        places = places or (Place(cluster, API_ADDRESS),)
        logs = _log_folder(folder)
        authority = Authority.make()
        access = Access(API_ADDRESS, API_PORT, authority.ca_pem, secrets.token_urlsafe(32))
        clients = [ApiClient(place.address, API_KEEPALIVE_PORT, access.ca_pem) for place in places]
        running = cls(access, clients, ApiClient(access.host, access.port, access.ca_pem), scale)
        try:
            with _private_folder() as private:
                try:
                    await running._start_etcd(binaries.etcd, cluster, private, logs, etcd_quota_octets)
                    files = apiserver.Files.write(
                        private, authority, [API_ADDRESS, *(place.address for place in places)], access.token
                    )
                    running.serving = (files.certificate, files.key)
                    await running._unless_ended(running._etcd_listens(private))
                    await running._start_servers(binaries.kube_apiserver, places, files, logs, scale)
                    running._launch = partial(_start_further, binaries.kube_apiserver, files, logs, scale)
                    await running._start_proxy(proxy, cluster, places, private, logs)
                    await running._unless_ended(running._ready())
                    yield running
                finally:
                    await running._stop()
        finally:
            for client in (*clients, running._front):
                client.close()

    async def ended(self) -> None:
        """Waits until a component ends, which none does of its own accord: then raises ControlPlaneFailure."""
        waits = [asyncio.create_task(component.ended()) for component in self._components]
        try:
            # Where one took others with it, the first in the order of their start is the cause.
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                if wait.done():
                    wait.result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def admit(self, namespace: str) -> str:
        """A token that may get, list and watch the trigger in ``namespace``, and nothing else; it outlives every cell.

        The namespace exists already. Raises LabFailure when refused.
        """
        return await admission.admit(self._servers, self.access.token, namespace)

    async def admit_node(self, name: str, address: str) -> str:
        """A token for the kube-proxy of a node of this name and address, which is made. Raises LabFailure."""
        return await admission.admit_node(self._servers, self.access.token, name, address)

    @property
    def api(self) -> ApiClient:
        """The first API server, for the lab's own requests with ``access.token``."""
        return self._servers[0]

    async def start_further(self, name: str, place: Place) -> Component:
        """One more API server on the same etcd, which its caller watches and ends; returns at once, ready or not.

        It is in no endpoints: nobody is led to it but by its caller. Its end does not end the control plane.
        """
        assert self._launch is not None
        return await self._launch(name, place)

    def memory_mib(self) -> dict[str, float]:
        """Largest resident memory so far by component, in MiB."""
        return {component.name: component.memory_mib() or 0.0 for component in self._components}

    async def answers(self) -> None:
        """Waits until it is ready, after a fault; raises ControlPlaneFailure when it does not get there."""
        await self._unless_ended(self._ready())

    @property
    def components(self) -> tuple[Component, ...]:
        """In the order of their start."""
        return tuple(self._components)

    async def _start_etcd(
        self, binary: Path, cluster: Namespace, private: Path, logs: Path, quota_octets: int | None
    ) -> None:
        arguments = etcd.arguments(binary, private, quota_octets=quota_octets)
        await self._start("etcd", arguments, cluster, logs, private)
        self.etcd_socket = etcd.socket_file(private)

    async def _start_servers(
        self, binary: Path, places: Sequence[Place], files: apiserver.Files, logs: Path, scale: float
    ) -> None:
        for number, place in enumerate(places, 1):
            audit = logs / f"audit-{number}.log"
            arguments = apiserver.arguments(binary, place.address, files, audit_log=audit, scale=scale)
            await self._start(f"kube-apiserver-{number}", arguments, place.namespace, logs, files.private)

    async def _start_proxy(
        self, binary: str, cluster: Namespace, places: Sequence[Place], private: Path, logs: Path
    ) -> None:
        configuration = logs / "haproxy.cfg"
        addresses = [place.address for place in places]
        most = haproxy.most_connections(haproxy.open_files())
        configuration.write_text(haproxy.configuration(API_ADDRESS, API_PORT, addresses, most=most))
        await self._start("haproxy", [binary, "-db", "-f", str(configuration)], cluster, logs, private)

    async def _start(
        self, name: str, arguments: Sequence[str], namespace: Namespace, logs: Path, private: Path
    ) -> None:
        log = logs / f"{name}.log"
        component = await Component.start(name, arguments, namespace=namespace, log=log, folder=private)
        self._components.append(component)

    async def _unless_ended(self, awaited: Coroutine[Any, Any, None]) -> None:
        """Raises ControlPlaneFailure when a component ends first, or nothing happens for too long."""
        waiting, ended = asyncio.create_task(awaited), asyncio.create_task(self.ended())
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
            (ended if ended.done() else waiting).result()
        except TimeoutError as error:
            raise ControlPlaneFailure(
                f"the control plane was not ready after {READY_SECONDS:g} s: {self._obstacle}",
                log=str(self._components[0].log.parent),
            ) from error
        finally:
            for task in (waiting, ended):
                task.cancel()
            await asyncio.gather(waiting, ended, return_exceptions=True)

    @staticmethod
    async def _etcd_listens(private: Path) -> None:
        while not etcd.listens(private):  # noqa: ASYNC110 - a file appears, nothing tells of it
            await asyncio.sleep(_PAUSE_SECONDS / 4)

    async def _ready(self) -> None:
        await asyncio.gather(*(self._answers(server, "/readyz") for server in self._servers))
        # Through the proxy, as clients will come.
        self.version = str((await self._answers(self._front, "/version"))["gitVersion"])

    async def _answers(self, client: ApiClient, path: str) -> dict[str, object]:
        while True:
            try:
                answer = await client.request("GET", path, self.access.token, retries=0)
                if answer.status == 200:
                    return answer.body
                self._obstacle = f"{path}: {answer.problem}"
            except HTTPError as error:  # not there yet; if it never comes, its end or the time limit says so
                self._obstacle = f"{path}: {error}"
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _stop(self) -> None:
        """Clients' side first: what is still asked is not answered with an error of etcd's."""
        etcds, servers = self._components[:1], self._components[1:]
        await asyncio.gather(*(component.stop() for component in servers))
        await asyncio.gather(*(component.stop() for component in etcds))


async def _start_further(
    binary: Path, files: apiserver.Files, logs: Path, scale: float, name: str, place: Place
) -> Component:
    audit, log = logs / f"audit-{name}.log", logs / f"kube-apiserver-{name}.log"
    arguments = apiserver.arguments(
        binary, place.address, files, audit_log=audit, scale=scale, port=place.port, own=True
    )
    return await Component.start(
        f"kube-apiserver-{name}", arguments, namespace=place.namespace, log=log, folder=files.private
    )


def _log_folder(folder: Path) -> Path:
    logs = folder.absolute() / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    return logs


@contextmanager
def _private_folder() -> Iterator[Path]:
    """For keys and etcd's data, on the sandbox's own tmpfs; readable by its owner alone."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="control-plane-", dir=SCRATCH))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


__all__ = ["KubernetesControlPlane", "Place"]
