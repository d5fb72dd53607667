"""An MQTT broker keeps the cell's topic's last message, and passes it on to who has subscribed, or subscribes later.

The message is retained, as a value is that somebody may come late for: a client that has lost its connection gets the
touch when it is back.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from watcher.errors import LabUnavailable
from watcher.lab import daemon, sandbox
from watcher.lab.addresses import API_ADDRESS, MQTT_PORT, Server
from watcher.lab.control_plane.component import Component
from watcher.lab.namespace import Namespace
from watcher.lab.scene import OwnServer
from watcher.model import Path as ScenarioPath
from watcher.model import Scenario, Stack
from watcher.programs.probe import ProbeResult
from watcher.protocols import Stage, Tenant, check_variant, unfit_beside
from watcher.protocols._beside import Own, own_by, to_both
from watcher.records import ProbedTo
from watcher.updater import Published

PUBLISH_SECONDS = 30.0
"""Far longer than any deadline: a broker that is slow must be seen to be slow."""
INSTALL = "apt-get install mosquitto"
_READY = " running"
"""It says this with its version, when it listens."""


class MqttService:
    """One broker for all cells; each has a topic, by the name of its namespace."""

    def __init__(self, component: Component, server: Server, own: Own) -> None:
        self.component = component
        self.server: Server | None = server
        self._at = server
        self._own = own

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        daemon.need(self.component)
        return {"WATCHER_ADDRESS": f"{tenant.virtual.address}:{tenant.virtual.port}"}

    async def publish(self, tenant: Tenant, nonce: str) -> Published:
        topic = tenant.trigger.namespace
        return await to_both(
            tenant.own,
            lambda own: asyncio.to_thread(published, self._at if own is None else own.server, topic, nonce),
        )

    def own_server(self, number: int, *, service: bool, deaf: bool) -> AbstractAsyncContextManager[OwnServer]:
        return self._own(number, service=service, deaf=deaf)

    def probe(self, tenant: Tenant, to: ProbedTo, seconds: float, *, since: str) -> ProbeResult:  # noqa: ARG002 - a retained message has no history
        return accepted(tenant.virtual, seconds)


def published(at: Server, topic: str, nonce: str, timeout_seconds: float = PUBLISH_SECONDS) -> Published:
    """Gives the nonce to the broker, which says that it has it (QoS 1). Blocks; never raises for the network."""
    sent = time.monotonic()
    try:
        with _connected(at, timeout_seconds) as client:
            sent = time.monotonic()
            message = client.publish(topic, nonce, qos=1, retain=True)
            if not _until(client, message.is_published, timeout_seconds):
                raise TimeoutError(f"the broker did not acknowledge it within {timeout_seconds:g} s")
            answered = time.monotonic()
    except (OSError, RuntimeError) as error:  # a RuntimeError is paho's for a connection that went meanwhile
        return Published(sent=sent, error=f"{type(error).__name__}: {error}")
    return Published(sent=sent, answered=answered, status=200)


def accepted(at: Server, timeout_seconds: float) -> ProbeResult:
    """Whether TCP comes up and a broker accepts the client. Blocks; never raises for the network."""
    began = time.monotonic()
    # Known also when nothing comes of it: what is ours must not be taken for the program's.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as free:
        free.bind(("", 0))
        own = free.getsockname()[1]
    try:
        with _connected(at, timeout_seconds, own_port=own):
            pass
    except OSError as error:
        return ProbeResult(False, time.monotonic() - began, own, f"{type(error).__name__}: {error}")
    return ProbeResult(True, time.monotonic() - began, own, None)


@contextmanager
def _connected(at: Server, timeout_seconds: float, *, own_port: int = 0) -> Iterator[Client]:
    """A client that the broker has accepted. Raises OSError."""
    answered, refused = False, ""

    def on_connect(_client: Client, _data: object, _flags: object, reason: ReasonCode, _properties: Any) -> None:
        nonlocal answered, refused
        answered, refused = True, str(reason) if reason.is_failure else ""

    client = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    client.on_connect = on_connect
    client.connect_timeout = timeout_seconds
    client.connect(at.address, at.port, bind_port=own_port)
    try:
        if not _until(client, lambda: answered, timeout_seconds):
            raise TimeoutError(f"the broker did not answer within {timeout_seconds:g} s")
        if refused:
            raise ConnectionRefusedError(f"the broker refused: {refused}")
        yield client
    finally:
        client.disconnect()


def _until(client: Client, happened: Callable[[], bool], seconds: float) -> bool:
    """Lets the client speak and listen until it has happened; whether it has, in time. Raises OSError.

    paho's own loop waits by select(), which knows no file beyond the first 1,024 of a process; a large run has more.
    """
    until = time.monotonic() + seconds
    while not happened():
        connection = client.socket()
        if connection is None:
            raise ConnectionResetError("the broker closed the connection")
        with selectors.DefaultSelector() as selector:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
            selector.register(connection, wanted)
            ready = selector.select(max(0.0, until - time.monotonic()))
        if not ready:
            return False
        if ready[0][1] & selectors.EVENT_WRITE:
            client.loop_write()
        if ready[0][1] & selectors.EVENT_READ:
            client.loop_read()
    return True


def configuration(address: str, port: int) -> str:
    """The released defaults but for where it listens; since 2.0 it takes nobody without a password unless told to."""
    return "\n".join(
        [
            f"listener {port} {address}",
            "allow_anonymous true",
            "persistence false",
            "log_dest stderr",
            "user root",  # of the sandbox, whose only user that is: it would become another
            "",
        ]
    )


@asynccontextmanager
async def start(stage: Stage) -> AsyncIterator[MqttService]:
    at = Server(API_ADDRESS, MQTT_PORT)

    def serve(namespace: Namespace, server: Server, suffix: str) -> AbstractAsyncContextManager[Component]:
        name = f"mosquitto{suffix}"
        private = stage.scratch / name
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = private / "mosquitto.conf"
        file.write_text(configuration(server.address, server.port))
        log = stage.folder / f"{name}.log"
        return daemon.serving(
            name, [str(binary()), "-c", str(file)], _READY, namespace=namespace, log=log, folder=private
        )

    async with serve(stage.cluster, at, "") as component:
        yield MqttService(component, at, own_by(stage, at, serve))


def binary() -> Path:
    """Raises LabUnavailable where there is none."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *sandbox.SYSTEM_FOLDERS))
    found = shutil.which("mosquitto", path=places)
    if found is None:
        raise LabUnavailable("mosquitto is missing", advice=INSTALL)
    return Path(found)


def missing() -> str | None:
    try:
        binary()
    except LabUnavailable as error:
        return f"needs mosquitto, which is not on this machine: {error.advice}"
    return None


def unfit(stack: Stack, scenario: Scenario, path: ScenarioPath, scale: float) -> str | None:  # noqa: ARG001 - its own timers are scaled
    check_variant(stack)
    return unfit_beside(scenario, path)
