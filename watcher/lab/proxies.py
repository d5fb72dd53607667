"""Layer-4 proxies before the servers: HAProxy in TCP mode, a listener for each idle timeout and server of a stage.

A proxy counts data. TCP keepalive is packets without any, so a client's probes keep nothing open here; the connection
to the server is another one, and the API server's own probes end at the proxy.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from watcher.errors import ControlPlaneFailure, LabFailure
from watcher.lab import sandbox
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, PROXY_PORT, Server
from watcher.lab.control_plane import haproxy
from watcher.lab.control_plane.component import Component
from watcher.lab.control_plane.haproxy import QUIET, Front
from watcher.lab.namespace import Namespace
from watcher.model import CellPlan

LOG = "proxies.log"
READY_SECONDS = 30.0
"""Where the machine is busy; some 50 ms where it is not."""
CLOSE_SECONDS = 5.0
"""Within this time it has closed what it was told to; some milliseconds where the machine is not busy."""
_PAUSE_SECONDS = 0.02
_ANSWER_OCTETS = 1 << 16


def idle_seconds(plan: CellPlan) -> float | None:
    """After how long without data the plan's proxy closes a connection; None: never."""
    idle = plan.timing.idle_timeout_seconds
    return None if idle is None else idle + plan.timing.end_delay_seconds


@dataclass(frozen=True)
class Way:
    """What makes one listener different from another."""

    idle_seconds: float | None
    server: Server


API_SERVER = Server(API_ADDRESS, API_KEEPALIVE_PORT)


def fronts(ways: Sequence[Way]) -> list[Front]:
    """A listener for each, at ports that follow one another."""
    return [
        Front(
            name=f"{number}-{'no-idle-timeout' if way.idle_seconds is None else f'idle-{way.idle_seconds:g}s'}",
            address=API_ADDRESS,
            port=PROXY_PORT + number,
            servers=(way.server.address,),
            server_port=way.server.port,
            introduces=way.server.introduced,
            timeout=QUIET if way.idle_seconds is None else f"{round(way.idle_seconds * 1000)}ms",
        )
        for number, way in enumerate(ways)
    ]


def _way(plan: CellPlan, servers: Mapping[str, Server | None]) -> Way:
    return Way(idle_seconds(plan), servers.get(plan.service) or API_SERVER)


class Proxies:
    """The proxies of one stage, running in the cluster's namespace; a ``scene.Proxy``."""

    def __init__(
        self, component: Component, admin: Path, ways: Sequence[Way], servers: Mapping[str, Server | None]
    ) -> None:
        self._component = component
        self._admin = admin
        self._servers = servers
        self._fronts = {way: Server(front.address, front.port) for way, front in zip(ways, fronts(ways), strict=True)}

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        cluster: Namespace,
        folder: Path,
        plans: Iterable[CellPlan],
        servers: Mapping[str, Server | None] = MappingProxyType({}),
    ) -> AsyncIterator[Proxies | None]:
        """Ready when entered; None where no plan asks for a proxy. Its log goes to ``folder``.

        ``servers`` are those of services that have one beside the API server, by name.
        Raises LabUnavailable where HAProxy is missing, ControlPlaneFailure, naming the log, when it does not get ready.
        """
        ways = list(dict.fromkeys(_way(plan, servers) for plan in plans if plan.proxy))
        if not ways:
            yield None
            return
        private = Path(tempfile.mkdtemp(prefix="proxies-", dir=sandbox.SCRATCH))
        file, admin = private / "haproxy.cfg", private / "admin.sock"
        most = haproxy.most_connections(haproxy.open_files())
        file.write_text(haproxy.fronts(fronts(ways), most=most, admin=admin))
        line = [haproxy.binary(), "-db", "-f", str(file)]
        component = await Component.start("proxy", line, namespace=cluster, log=folder / LOG, folder=private)
        try:
            running = cls(component, admin, ways, servers)
            await running._ready()
            yield running
        finally:
            await component.stop()
            shutil.rmtree(private, ignore_errors=True)

    def server(self, plan: CellPlan) -> Server:
        """Where the cell's path leads."""
        return self._fronts[_way(plan, self._servers)]

    def check(self) -> None:
        """Raises ControlPlaneFailure when it has ended: from then on no path leads anywhere."""
        if not self._component.running:
            raise ControlPlaneFailure("the proxy ended during the run", log=str(self._component.log))

    def close(self, client_address: str) -> None:
        """Closes the client's present connections, both sides, with FIN; they are gone when this returns. Those that it
        makes meanwhile are left alone. Blocks. Raises LabFailure where the proxy does not do it.
        """
        until = time.monotonic() + CLOSE_SECONDS
        present = self._connections(client_address)
        for identity in present.values():
            self._ask(f"shutdown session {identity}")
        # By the client's port, since the proxy gives a name to another connection when the first one is over.
        while left := present.keys() & self._connections(client_address).keys():
            if time.monotonic() > until:
                raise LabFailure(f"the proxy did not close the connections of {', '.join(sorted(left))}")
            time.sleep(_PAUSE_SECONDS)

    def _connections(self, client_address: str) -> dict[str, str]:
        """The proxy's names of the client's connections, by the client's address and port.

        A line of the list begins with the name and a colon; one of its words is ``src=10.0.0.1:99``.
        """
        found = {}
        for line in self._ask("show sess").splitlines():
            identity, _, words = line.partition(": ")
            for word in words.split():
                if word.startswith(f"src={client_address}:"):
                    found[word.removeprefix("src=")] = identity
        return found

    def _ask(self, command: str) -> str:
        answer = bytearray()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
                asking.settimeout(CLOSE_SECONDS)
                asking.connect(str(self._admin))
                asking.sendall(f"{command}\n".encode())
                while read := asking.recv(_ANSWER_OCTETS):
                    answer += read
        except OSError as error:
            raise ControlPlaneFailure(f"the proxy does not answer: {error}", log=str(self._component.log)) from error
        return answer.decode(errors="replace")

    async def _ready(self) -> None:
        answering, ended = asyncio.create_task(self._answers()), asyncio.create_task(self._component.ended())
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.wait({answering, ended}, return_when=asyncio.FIRST_COMPLETED)
            await (ended if ended.done() else answering)
        except TimeoutError as error:
            raise ControlPlaneFailure(
                f"the proxy was not ready after {READY_SECONDS:g} s", log=str(self._component.log)
            ) from error
        finally:
            for task in (answering, ended):
                task.cancel()
            await asyncio.gather(answering, ended, return_exceptions=True)

    async def _answers(self) -> None:
        """Its listeners are open before it answers here."""
        while True:
            try:
                await asyncio.to_thread(self._ask, "show info")
                return
            except ControlPlaneFailure:  # not there yet; if it never comes, its end or the time limit says so
                await asyncio.sleep(_PAUSE_SECONDS)
