"""The servers of message protocols in the lab: bad input has a clear outcome and costs nobody else anything."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.lab.sandboxed import run_inside
from watcher import protocols
from watcher.errors import LabFailure
from watcher.lab import network, sandbox
from watcher.lab.addresses import API_ADDRESS, MQTT_PORT, NATS_PORT, Server
from watcher.programs import environments
from watcher.protocols import Stage, Tenant
from watcher.updater import Trigger

pytestmark = pytest.mark.lab

PORTS = {"nats": NATS_PORT, "mqtt": MQTT_PORT}
HALF = {
    "nats": b'CONNECT {"verbose":false}\r\nPUB cell-1 32\r\nonly a part of it',
    # CONNECT with the client identifier "half"; then PUBLISH that announces 100 octets
    "mqtt": bytes([0x10, 16, 0, 4, *b"MQTT", 4, 2, 0, 60, 0, 4, *b"half", 0x30, 100, 0, 6, *b"cell-1", *b"a part"]),
}
READERS = {
    "nats": b'CONNECT {"verbose":false}\r\nSUB cell-1 1\r\n',
    "mqtt": bytes([0x10, 16, 0, 4, *b"MQTT", 4, 2, 0, 60, 0, 4, *b"deaf", 0x82, 11, 0, 1, 0, 6, *b"cell-1", 0]),
}


async def scene(protocol: str) -> dict[str, Any]:
    """One server, everything that can be done to it, and at last its end."""
    cluster = network.make_cluster()
    folder = Path(mkdtemp())
    # It needs none of the others.
    others: Any = None
    stage = Stage(cluster, folder, sandbox.SCRATCH, 12, others, others, others, others)
    module = protocols.load(protocol)
    at = Server(API_ADDRESS, PORTS[protocol])
    tenant = Tenant("a/b/c#1", Trigger("cell-1"), folder, at)
    seen: dict[str, Any] = {}

    def connect(said: bytes = b"") -> socket.socket:
        made = socket.create_connection((at.address, at.port), timeout=30)
        made.sendall(said)
        return made

    listener = cluster.enter(lambda: socket.create_server((at.address, at.port)))
    seen["port in use"] = await failure(module, stage)
    listener.close()

    async with module.start(stage) as service:
        seen["variables"] = dict(await service.admit(tenant))
        seen["twice"] = await failure(module, stage)
        seen["works"] = await publish(service, tenant)
        seen["probe"] = service.probe(tenant, "virtual", 30, since="").ok
        half = connect(HALF[protocol])
        seen["beside half a message"] = await publish(service, tenant)
        half.close()
        seen["after half a message"] = await publish(service, tenant)
        deaf = connect(READERS[protocol])
        seen["beside one who never reads"] = [await publish(service, tenant) for _ in range(5)]
        silent = connect()
        seen["beside one who never speaks"] = await publish(service, tenant)
        component = service.component  # type: ignore[attr-defined]
        component.signal(signal.SIGSTOP)
        seen["probe of a silent one"] = service.probe(tenant, "virtual", 0.5, since="").error
        component.signal(signal.SIGKILL)
        await component.stop()
        seen["publish after its end"] = await publish(service, tenant)
        seen["probe after its end"] = service.probe(tenant, "virtual", 30, since="").error
        try:
            await service.admit(tenant)
        except LabFailure as error:
            seen["admit after its end"] = error.message
        deaf.close()
        silent.close()
    return seen


async def failure(module: protocols.Module, stage: Stage) -> str | None:
    try:
        async with module.start(stage):
            return None
    except LabFailure as error:
        return str(error)


async def publish(service: protocols.Service, tenant: Tenant) -> list[Any]:
    """Status, error, and how long it took."""
    began = time.monotonic()
    said = await service.publish(tenant, "n" * 32)
    return [said.status, said.error, time.monotonic() - began]


Played = Callable[[str], dict[str, Any]]
PROTOCOLS = pytest.mark.parametrize("protocol", PORTS)


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    for protocol in PORTS:
        if (wanted := protocols.build(protocol)) is not None:
            environments.build(wanted.folder, wanted.build)
        if (lacking := protocols.load(protocol).missing()) is not None:
            pytest.skip(lacking)
    with ThreadPoolExecutor(len(PORTS)) as pool:
        futures = {protocol: pool.submit(run_inside, scene, protocol) for protocol in PORTS}
        yield lambda protocol: futures[protocol].result()


@PROTOCOLS
def test_a_port_in_use_is_told(protocol: str, played: Played) -> None:
    """Else a run would be measured against whoever listens there."""
    for when in ("port in use", "twice"):
        said = played(protocol)[when]
        assert said is not None, "somebody else's server was taken for ours"
        assert "address already in use" in said.lower()
        assert "its log: " in said


@PROTOCOLS
def test_it_takes_what_the_harness_gives(protocol: str, played: Played) -> None:
    """The mutant of all below: the same server, with nothing wrong."""
    seen = played(protocol)
    assert seen["variables"] == {"WATCHER_ADDRESS": f"{API_ADDRESS}:{PORTS[protocol]}"}
    assert seen["works"][:2] == [200, None]
    assert seen["probe"] is True


@PROTOCOLS
def test_bad_clients_cost_nobody_anything(protocol: str, played: Played) -> None:
    """One broken program among a wave's would make every other cell late."""
    seen = played(protocol)
    cases = [seen[f"{when} half a message"] for when in ("beside", "after")]
    cases += [*seen["beside one who never reads"], seen["beside one who never speaks"]]
    for status, error, seconds in cases:
        assert (status, error) == (200, None)
        assert seconds < 5


@PROTOCOLS
def test_a_server_that_vanishes_is_the_labs_failure(protocol: str, played: Played) -> None:
    """A client must not be charged with it: a touch that nobody took decides nothing, and no new cell begins."""
    seen = played(protocol)
    status, error, _ = seen["publish after its end"]
    assert status is None
    assert "refused" in error.lower() or "111" in error
    assert "refused" in seen["probe after its end"].lower()
    assert "timed out" in seen["probe of a silent one"].lower() or "TimeoutError" in seen["probe of a silent one"]
    assert seen["admit after its end"].endswith("has ended")
