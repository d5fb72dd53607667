"""The servers of message protocols in the lab: bad input has a clear outcome and costs nobody else anything."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Flood:
    """Messages for the cell's subject, one like the other."""

    hello: bytes
    head: bytes
    octets: int
    tail: bytes
    count: int

    @property
    def total_octets(self) -> int:
        return self.octets * self.count


HALF = {
    "nats": b'CONNECT {"verbose":false}\r\nPUB cell-1 32\r\nonly a part of it',
    # CONNECT with the client identifier "half"; then PUBLISH that announces 100 octets
    "mqtt": bytes([0x10, 16, 0, 4, *b"MQTT", 4, 2, 0, 60, 0, 4, *b"half", 0x30, 100, 0, 6, *b"cell-1", *b"a part"]),
}
READERS = {
    name: {
        "nats": b'CONNECT {"verbose":false}\r\nSUB cell-1 1\r\nPING\r\n',
        "mqtt": bytes([0x10, 16, 0, 4, *b"MQTT", 4, 2, 0, 60, 0, 4, *name.encode()])
        + bytes([0x82, 11, 0, 1, 0, 6, *b"cell-1", 0]),
    }
    for name in ("deaf", "open")
}
SUBSCRIBED = {"nats": b"PONG\r\n", "mqtt": bytes([0x90, 3, 0, 1, 0])}
"""What comes when the subscription is in force."""
FLOODS = {
    # More than the 64 MiB that nats-server keeps for a client (max_pending).
    "nats": Flood(b'CONNECT {"verbose":false}\r\n', b"PUB cell-1 1000000\r\n", 1_000_000, b"\r\n", 90),
    # More than the 1000 messages that mosquitto keeps for a client (max_queued_messages), and what its kernel takes.
    "mqtt": Flood(
        bytes([0x10, 17, 0, 4, *b"MQTT", 4, 2, 0, 60, 0, 5, *b"flood"]),
        bytes([0x30, 0x88, 0x7D, 0, 6, *b"cell-1"]), 16_000, b"", 2500,
    ),
}  # fmt: skip
MOST_LAG_OCTETS = 4 << 20
"""The flood waits for the reader who reads, so that a busy machine makes no slow reader of it."""
CUT = {
    "nats": "Slow Consumer Detected",
    "mqtt": "Outgoing messages are being dropped for client deaf",
}
MOST_MIB = {"nats": 300, "mqtt": 150}
"""Of the server: what it keeps for one client, twice over, and itself."""
FLOOD_SECONDS = 60.0


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
        component = service.component  # type: ignore[attr-defined]
        reader = Reader(connect(READERS["open"][protocol]), SUBSCRIBED[protocol])
        seen["all read"] = await asyncio.to_thread(flood, connect, protocol, reader)
        seen["said while all read"] = component.log.read_text()
        deaf = await asyncio.to_thread(never_reading, at, READERS["deaf"][protocol], SUBSCRIBED[protocol])
        seen["one never reads"] = await asyncio.to_thread(flood, connect, protocol, reader)
        seen["beside one who never reads"] = [await publish(service, tenant, f"{n:032}") for n in range(5)]
        seen["last read"] = await asyncio.to_thread(reader.saw, f"{4:032}".encode())
        seen["said"] = component.log.read_text()
        seen["memory"] = component.memory_mib()
        seen["left for the deaf"] = await asyncio.to_thread(rest, deaf)
        reader.close()
        silent = connect()
        seen["beside one who never speaks"] = await publish(service, tenant)
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


class Reader:
    """Reads all it is sent, in a thread; remembers how much, and the end of it."""

    def __init__(self, connection: socket.socket, subscribed: bytes) -> None:
        until(connection, subscribed)
        self.octets = 0
        self._end = b""
        self._changed = threading.Condition()
        self._connection = connection
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        self._connection.settimeout(None)
        with suppress(OSError):  # it is closed, here or there: what was read says whether too early
            while data := self._connection.recv(1 << 20):
                with self._changed:
                    self.octets += len(data)
                    self._end = (self._end + data)[-4096:]
                    self._changed.notify_all()

    def has(self, octets: int) -> bool:
        """Whether it has read so much, soon."""
        with self._changed:
            return self._changed.wait_for(lambda: self.octets >= octets, FLOOD_SECONDS)

    def saw(self, words: bytes) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: words in self._end, FLOOD_SECONDS)

    def close(self) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()


def until(connection: socket.socket, words: bytes) -> None:
    """Reads until these have come."""
    seen = b""
    while words not in seen:
        data = connection.recv(4096)
        assert data, f"closed after {seen!r}"
        seen += data


def never_reading(at: Server, said: bytes, subscribed: bytes) -> socket.socket:
    """Subscribed, with as little of a buffer as the kernel lets one have."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.settimeout(5)
    deaf.connect((at.address, at.port))
    deaf.sendall(said)
    until(deaf, subscribed)
    return deaf


def rest(deaf: socket.socket) -> int:
    """What it gets when it reads at last: octets, until it is cut or nothing more comes."""
    octets = 0
    deaf.settimeout(2)
    with suppress(OSError):
        while data := deaf.recv(1 << 20):
            octets += len(data)
    return octets


def flood(connect: Callable[[bytes], socket.socket], protocol: str, reader: Reader) -> list[Any]:
    """Whether the reader got all of it, and how long it took."""
    what, before, began = FLOODS[protocol], reader.octets, time.monotonic()
    message = what.head + b"x" * what.octets + what.tail
    with connect(what.hello) as publisher:
        publisher.settimeout(FLOOD_SECONDS)
        for sent in range(1, what.count + 1):
            publisher.sendall(message)
            if not reader.has(before + what.octets * sent - MOST_LAG_OCTETS):
                return [False, time.monotonic() - began]
        return [reader.has(before + what.total_octets), time.monotonic() - began]


async def publish(service: protocols.Service, tenant: Tenant, nonce: str = "n" * 32) -> list[Any]:
    """Status, error, and how long it took."""
    began = time.monotonic()
    said = await service.publish(tenant, nonce)
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
def test_one_who_never_reads_is_cut_or_told_no_more(protocol: str, played: Played) -> None:
    """Else it fills the server's memory, and that ends for all; or what is kept for it holds up what others are sent.

    nats-server cuts it, mosquitto drops what is too much.
    """
    seen = played(protocol)
    all_of_it, seconds = seen["one never reads"]
    assert all_of_it, "the other subscriber was not sent all of it"
    assert seconds < FLOOD_SECONDS
    assert seen["last read"], "the other subscriber was not sent the last one"
    assert CUT[protocol] in seen["said"], seen["said"]
    assert seen["left for the deaf"] < FLOODS[protocol].total_octets
    assert seen["memory"] < MOST_MIB[protocol]


@PROTOCOLS
def test_where_all_read_nobody_is_cut(protocol: str, played: Played) -> None:
    """The mutant: the same flood without the deaf one, whom the words above must be about."""
    seen = played(protocol)
    assert seen["all read"][0]
    assert CUT[protocol].partition(" for client")[0] not in seen["said while all read"]


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
