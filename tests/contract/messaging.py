"""The real servers of message protocols on loopback, and programs that are their clients."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import pytest

from tests.contract.running import NAMESPACE, TRIGGER, Running
from watcher import protocols
from watcher.lab.addresses import Server
from watcher.lab.control_plane.component import Component
from watcher.model import Settings
from watcher.programs import contract, environments
from watcher.programs.process import Command, Process
from watcher.protocols import Tenant, mqtt, nats
from watcher.protocols.mqtt import MqttService
from watcher.protocols.nats import NatsService
from watcher.updater import Published, Trigger

READY_SECONDS = 60.0
HOST = f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.1"
"""Of this process alone: the servers take no port 0, and what is free here nobody else takes meanwhile."""


def _nats(folder: Path, port: int) -> list[str]:
    file = folder / "nats-server.conf"
    file.write_text(nats.configuration(HOST, port, 1))
    return [str(nats.binary()), f"--config={file}"]


def _mqtt(folder: Path, port: int) -> list[str]:
    file = folder / "mosquitto.conf"
    ours = mqtt.configuration(HOST, port)
    file.write_text(ours if os.geteuid() == 0 else ours.replace("user root\n", ""))
    return [str(mqtt.binary()), "-c", str(file)]


ARGUMENTS: dict[str, Callable[[Path, int], list[str]]] = {"nats": _nats, "mqtt": _mqtt}
SERVICES: dict[str, type[NatsService] | type[MqttService]] = {"nats": NatsService, "mqtt": MqttService}


@dataclass
class Broker:
    """One server, and what the harness does with it."""

    service: NatsService | MqttService
    tenant: Tenant
    component: Component

    async def publish(self, nonce: str, namespace: str = NAMESPACE) -> Published:
        """``namespace`` is the cell's, by which subjects and topics are named."""
        return await self.service.publish(replace(self.tenant, trigger=Trigger(namespace)), nonce)

    @property
    def address(self) -> str:
        return f"{self.tenant.virtual.address}:{self.tenant.virtual.port}"

    async def vanish(self) -> None:
        """Its kernel ends its connections with FIN or RST."""
        self.component.signal(signal.SIGKILL)
        await self.component.stop()

    async def restart(self) -> None:
        await self.component.restart()
        await self.up()

    async def up(self) -> None:
        async with asyncio.timeout(READY_SECONDS):
            while not (await self.publish("up")).answered:
                assert self.component.running, self.component.log.read_text()
                await asyncio.sleep(0.05)


def _no_other(*_: object, **__: object) -> NoReturn:
    raise AssertionError("there is no scenario here that could have a server of its own")


@asynccontextmanager
async def broker(protocol: str, folder: Path) -> AsyncIterator[Broker]:
    """Skips where the machine does not have it, which in CI is a failure."""
    if (wanted := protocols.build(protocol)) is not None and os.environ.get("CI") == "true":
        environments.build(wanted.folder, wanted.build)
    if (lacking := protocols.load(protocol).missing()) is not None:
        pytest.skip(lacking)
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, before anything runs
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    log = folder / "server.log"

    async def spawn() -> tuple[asyncio.subprocess.Process, int]:
        with log.open("ab") as output:
            arguments = ARGUMENTS[protocol](folder, port)
            return await asyncio.create_subprocess_exec(*arguments, stdout=output, stderr=output), output.tell()

    process, begin = await spawn()
    component = Component(protocol, process, log, begin, spawn)
    at = Server(HOST, port)
    service = SERVICES[protocol](component, at, _no_other)
    tenant = Tenant("a/b/c#1", Trigger(NAMESPACE), folder, at)
    made = Broker(service, tenant, component)
    try:
        await made.up()
        yield made
    finally:
        await component.stop()


@asynccontextmanager
async def subscribing(
    arguments: list[str], folder: Path, address: str, profile: str, settings: Settings
) -> AsyncIterator[Running]:
    """Starts the program as the harness does, and ends it."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "WATCHER_ADDRESS": address,
        **contract.environment(settings, profile, NAMESPACE, TRIGGER),
    }
    process = await Process.spawn(Command(arguments, environment, folder), limit=contract.MAX_LINE_BYTES)
    program = Running(process, folder)
    reading = asyncio.create_task(program._read())
    try:
        yield program
    finally:
        await process.stop()
        await reading
