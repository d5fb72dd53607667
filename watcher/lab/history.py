"""An API server that refuses history, for a stage that needs one: ``forgetting.py`` before the real one, running."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from watcher.errors import ControlPlaneFailure
from watcher.lab import sandbox
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, HISTORY_PORT, Server
from watcher.lab.control_plane.component import Component
from watcher.lab.control_plane.running import ControlPlane
from watcher.lab.namespace import Namespace

LOG = "history-proxy.log"
READY_SECONDS = 30.0
"""Where the machine is busy; some 0.5 s where it is not."""
_PAUSE_SECONDS = 0.05


class HistoryProxy:
    """Running in the cluster's namespace, for all cells of a stage; each client has a history of its own there."""

    server = Server(API_ADDRESS, HISTORY_PORT)

    def __init__(self, component: Component) -> None:
        self._component = component

    @classmethod
    @asynccontextmanager
    async def start(cls, cluster: Namespace, folder: Path, control_plane: ControlPlane) -> AsyncIterator[HistoryProxy]:
        """Ready when entered. Its log goes to ``folder``. Raises ControlPlaneFailure, naming the log."""
        private = Path(tempfile.mkdtemp(prefix="history-", dir=sandbox.SCRATCH))
        authority, token = private / "ca.pem", private / "token"
        authority.write_text(control_plane.access.ca_pem)
        token.touch(mode=0o600)
        token.write_text(control_plane.access.token)
        certificate, key = control_plane.serving
        line = [
            sys.executable,
            "-m",
            "watcher.lab.forgetting",
            f"--listen={cls.server.address}:{cls.server.port}",
            f"--upstream={API_ADDRESS}:{API_KEEPALIVE_PORT}",
            f"--authority={authority}",
            f"--certificate={certificate}",
            f"--key={key}",
            f"--token-file={token}",
        ]
        component = await Component.start(
            "the proxy without history", line, namespace=cluster, log=folder / LOG, folder=private
        )
        try:
            running = cls(component)
            await running._ready(cluster)
            yield running
        finally:
            await component.stop()
            shutil.rmtree(private, ignore_errors=True)

    def check(self) -> None:
        """Raises ControlPlaneFailure when it has ended."""
        if not self._component.running:
            raise ControlPlaneFailure(f"{self._component.name} ended during the run", log=str(self._component.log))

    async def _ready(self, cluster: Namespace) -> None:
        listening, ended = asyncio.create_task(self._listens(cluster)), asyncio.create_task(self._component.ended())
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
            await (ended if ended.done() else listening)
        except TimeoutError as error:
            raise ControlPlaneFailure(
                f"{self._component.name} was not ready after {READY_SECONDS:g} s", log=str(self._component.log)
            ) from error
        finally:
            for task in (listening, ended):
                task.cancel()
            await asyncio.gather(listening, ended, return_exceptions=True)

    async def _listens(self, cluster: Namespace) -> None:
        while not await asyncio.to_thread(cluster.enter, self._connects):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(_PAUSE_SECONDS)

    def _connects(self) -> bool:
        with socket.socket() as trying:
            trying.settimeout(1.0)
            return trying.connect_ex((self.server.address, self.server.port)) == 0
