"""A NATS server passes a message on to who has subscribed to the cell's subject; who has not, never gets it.

Core NATS, not JetStream: a message is delivered at most once. A client that has lost its connection has to be back
before the touch, or the touch is lost on it for good.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from nats.aio.client import Client
from nats.errors import Error as NatsError

from watcher.lab import daemon
from watcher.lab.addresses import API_ADDRESS, NATS_PORT, Server
from watcher.lab.control_plane.component import Component
from watcher.lab.namespace import Namespace
from watcher.lab.scene import OwnServer
from watcher.model import Build, Scenario, Stack
from watcher.model import Path as ScenarioPath
from watcher.programs import environments
from watcher.programs.environments.together import Wanted
from watcher.programs.probe import ProbeResult
from watcher.protocols import Stage, Tenant, check_variant, unfit_beside
from watcher.protocols._beside import Own, own_by, to_both
from watcher.records import ProbedTo
from watcher.updater import Published

BUILD = Wanted(Path(__file__).parent / "go" / "nats-server", Build(kind="go", lock="go.sum"))
PING_SECONDS = 120.0
"""The released server's own, in true seconds; a run divides it by its scale, like the timers of the API server."""
PING_MOST_OUT = 2
FIRST_PING_SECONDS = (2.0, 2.4)
"""After a connection's begin, unless it has sent data since; nothing can set it, so no scale shortens it."""
PUBLISH_SECONDS = 30.0
"""Far longer than any deadline: a server that is slow must be seen to be slow."""
_READY = "Server is ready"
_GREETING = b"INFO "


class NatsService:
    """One server for all cells; each has a subject, by the name of its namespace."""

    def __init__(self, component: Component, server: Server, own: Own) -> None:
        self.component = component
        self.server: Server | None = server
        self._at = server
        self._own = own

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        daemon.need(self.component)
        # The perfect client of a scenario is of another protocol, so that nobody comes here by a way of its own.
        return {"WATCHER_ADDRESS": f"{tenant.virtual.address}:{tenant.virtual.port}"}

    async def publish(self, tenant: Tenant, nonce: str) -> Published:
        return await to_both(
            tenant.own, lambda own: published(self._at if own is None else own.server, tenant.trigger.namespace, nonce)
        )

    def own_server(self, number: int, *, service: bool, deaf: bool) -> AbstractAsyncContextManager[OwnServer]:
        return self._own(number, service=service, deaf=deaf)

    def probe(self, tenant: Tenant, to: ProbedTo, seconds: float, *, since: str) -> ProbeResult:  # noqa: ARG002 - nothing is kept, so nothing can be resumed
        return greeted(tenant.virtual.address, tenant.virtual.port, seconds)


async def published(at: Server, subject: str, nonce: str) -> Published:
    """Gives the nonce to the server, which says that it has it. Never raises for the network."""
    sent = time.monotonic()
    told: list[Exception] = []

    async def tell(error: Exception) -> None:
        told.append(error)

    connection = Client()
    try:
        async with asyncio.timeout(PUBLISH_SECONDS):
            try:
                await connection.connect(
                    f"nats://{at.address}:{at.port}",
                    name="watcher",
                    error_cb=tell,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                )
                sent = time.monotonic()
                await connection.publish(subject, nonce.encode())
                await connection.flush()  # a PING, whose PONG says that what came before it was taken
                answered = time.monotonic()
            finally:
                await connection.close()
    except (OSError, NatsError) as error:  # a TimeoutError is an OSError
        # Of several attempts the last one's reason says more than that there were no more servers to try.
        cause = told[-1] if told else error
        return Published(sent=sent, error=f"{type(cause).__name__}: {cause}")
    return Published(sent=sent, answered=answered, status=200)


def greeted(host: str, port: int, timeout_seconds: float) -> ProbeResult:
    """Whether TCP comes up and a NATS server says its first words. Blocks; never raises for the network."""
    began = time.monotonic()
    own: int | None = None
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as raw:
        try:
            raw.settimeout(timeout_seconds)
            raw.bind(("", 0))
            own = raw.getsockname()[1]
            raw.connect((host, port))
            raw.settimeout(max(0.1, began + timeout_seconds - time.monotonic()))
            said = raw.recv(len(_GREETING), socket.MSG_WAITALL)
        except OSError as error:
            return ProbeResult(False, time.monotonic() - began, own, f"{type(error).__name__}: {error}")
    ok = said == _GREETING
    return ProbeResult(ok, time.monotonic() - began, own, None if ok else f"not a NATS server's greeting: {said!r}")


def configuration(address: str, port: int, scale: float) -> str:
    """The released defaults but for where it listens, and its PINGs at this scale."""
    return "\n".join(
        [
            f'host: "{address}"',
            f"port: {port}",
            f'ping_interval: "{PING_SECONDS / scale:g}s"',
            f"ping_max: {PING_MOST_OUT}",
            "",
        ]
    )


@asynccontextmanager
async def start(stage: Stage) -> AsyncIterator[NatsService]:
    at = Server(API_ADDRESS, NATS_PORT)

    def serve(namespace: Namespace, server: Server, suffix: str) -> AbstractAsyncContextManager[Component]:
        name = f"nats-server{suffix}"
        private = stage.scratch / name
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = private / "nats-server.conf"
        file.write_text(configuration(server.address, server.port, stage.scale))
        arguments = [str(binary()), f"--config={file}"]
        log = stage.folder / f"{name}.log"
        return daemon.serving(name, arguments, _READY, namespace=namespace, log=log, folder=private)

    async with serve(stage.cluster, at, "") as component:
        yield NatsService(component, at, own_by(stage, at, serve))


def binary() -> Path:
    """Where it is, or will be when it is built. Raises ToolMissing where this machine cannot build it."""
    return environments.environment_for(BUILD.folder, BUILD.build) / "bin" / "nats-server"


def missing() -> str | None:
    if environments.is_built(BUILD.folder, BUILD.build):
        return None
    lacks = environments.lacks(BUILD.folder, BUILD.build)
    return "needs nats-server, which is not built" + (f": {lacks.message}" if lacks else "; `watcher build` makes it")


def unfit(stack: Stack, scenario: Scenario, path: ScenarioPath, scale: float) -> str | None:  # noqa: ARG001 - its own timers are scaled
    check_variant(stack)
    return unfit_beside(scenario, path)
