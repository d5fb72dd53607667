"""What stands in for the API server in a path, with real packets: proxies that close, a server that never answers."""

from __future__ import annotations

import asyncio
import fcntl
import signal
import socket
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.sandboxed import run_inside
from watcher import faults, plan
from watcher.catalog import Catalog
from watcher.errors import LabFailure, LabUnavailable
from watcher.lab import network, path
from watcher.lab.addresses import (
    API_ADDRESS,
    API_KEEPALIVE_PORT,
    API_PORT,
    PROXY_PORT,
    VIRTUAL_ADDRESS,
    VIRTUAL_PORT,
    Server,
)
from watcher.lab.control_plane import haproxy
from watcher.lab.namespace import Namespace
from watcher.lab.proxies import Proxies
from watcher.lab.scene import Scene
from watcher.model import CellPlan
from watcher.records import Entry, Packet

pytestmark = pytest.mark.lab

IDLE = 2.0
SOON_SECONDS = 30.0
"""For what comes: it does in milliseconds where the machine is not busy."""
NEVER_SECONDS = 0.5
"""For what does not come."""


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    try:
        haproxy.binary()
    except LabUnavailable as missing:
        pytest.skip(str(missing))


def cell(scenario: str, idle: float = IDLE) -> CellPlan:
    """A cell's plan; where its path has an idle timeout, that is ``idle`` seconds."""
    catalog = Catalog.load()
    stack, profile = catalog.stacks["python-urllib3"].stack, catalog.profiles["default"]
    made = plan.make(plan.Choice([stack], [profile], [catalog.scenarios[scenario]], catalog.paths, {}))[-1]
    seconds = idle if made.timing.idle_timeout_seconds else None
    return made.model_copy(update={"timing": made.timing.model_copy(update={"idle_timeout_seconds": seconds})})


@dataclass
class Stage:
    """One cell's path, and behind it a server that says what it is told to."""

    nets: network.CellNetwork
    scene: Scene
    listener: socket.socket
    proxies: Proxies | None
    seen: list[Entry]

    async def connect(self, seconds: float = SOON_SECONDS) -> socket.socket:
        def connect() -> socket.socket:
            return socket.create_connection((VIRTUAL_ADDRESS, VIRTUAL_PORT), timeout=seconds)

        client = await asyncio.to_thread(self.nets.client.enter, connect)
        client.setblocking(False)
        return client

    async def flow(self, *, keepalive: bool = False) -> tuple[socket.socket, socket.socket]:
        """A connection that has carried data to the client."""
        loop = asyncio.get_running_loop()
        client = await self.connect()
        if keepalive:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        async with asyncio.timeout(SOON_SECONDS):
            server, _ = await loop.sock_accept(self.listener)
            server.setblocking(False)
            await loop.sock_sendall(server, b"control touch")
            assert await loop.sock_recv(client, 100) == b"control touch"
        await asyncio.sleep(0.2)
        return client, server

    async def fresh(self, seconds: float = SOON_SECONDS) -> str:
        """What becomes of a new connection: ``answered``, ``silence`` after so long, or the error's name."""
        loop = asyncio.get_running_loop()
        try:
            client = await self.connect(seconds)
        except OSError as error:
            return type(error).__name__
        with client:
            try:
                async with asyncio.timeout(seconds):
                    server, _ = await loop.sock_accept(self.listener)
            except TimeoutError:
                await loop.sock_sendall(client, b"hello?")
                return await read(client, seconds)
            with server:
                await loop.sock_sendall(server, b"answered")
                return await read(client, seconds)

    def packets(self, client: socket.socket, link: str = "client") -> list[Packet]:
        port = client.getsockname()[1]
        return [each for each in self.seen if isinstance(each, Packet) and each.port == port and each.link == link]

    def ends(self, client: socket.socket, link: str = "client") -> list[str]:
        """FIN and RST on one link, in their order."""
        return [
            f"{'RST' if 'R' in each.flags else 'FIN'} {each.direction}"
            for each in self.packets(client, link)
            if "R" in each.flags or "F" in each.flags
        ]


@asynccontextmanager
async def staged(made: CellPlan, *others: CellPlan) -> AsyncIterator[Stage]:
    seen: list[Entry] = []
    cluster = network.make_cluster()

    def listen() -> socket.socket:
        # As the API server itself, and as the proxy before it: the paths lead to either.
        listener = socket.create_server((API_ADDRESS, API_KEEPALIVE_PORT if made.proxy else API_PORT))
        listener.setblocking(False)
        return listener

    async with Proxies.start(cluster, Path(tempfile.mkdtemp()), [made, *others]) as proxies:
        server = proxies.server(made) if proxies is not None and made.proxy else None
        nets = network.CellNetwork.named(7, server=server)
        Namespace.create([nets.client.name, nets.path.name])
        network.make_cell(nets, cluster)
        path.prepare(made, nets)
        lab_path = path.LabPath(made, nets, Path(tempfile.mkdtemp()), seen.append)
        scene = Scene(lab_path, cluster, Server(API_ADDRESS, API_KEEPALIVE_PORT), proxy=proxies)
        try:
            yield Stage(nets, scene, cluster.enter(listen), proxies, seen)
        finally:
            lab_path.close()


async def read(end: socket.socket, seconds: float) -> str:
    """What a read brings within the time: text, ``silence``, ``end`` or the error's name."""
    try:
        async with asyncio.timeout(seconds):
            data = await asyncio.get_running_loop().sock_recv(end, 100)
    except TimeoutError:
        return "silence"
    except OSError as error:
        return type(error).__name__
    return data.decode() or "end"


async def idle_scene(proxy_idle: float, quiet: float) -> dict[str, Any]:
    """A client whose keepalive probes flow is quiet behind a proxy that closes after ``proxy_idle`` seconds."""
    async with staged(cell("haproxy-20s", proxy_idle)) as stage:
        client, server = await stage.flow(keepalive=True)
        said = await read(client, quiet)
        behind = await read(server, NEVER_SECONDS if said == "silence" else SOON_SECONDS)
        stage.scene.path.drain()
        data = [each.t for each in stage.packets(client) if each.direction == "to-client" and each.length]
        fins = [each.t for each in stage.packets(client) if each.direction == "to-client" and "F" in each.flags]
        probes = [each for each in stage.packets(client) if each.direction == "to-server" and not each.length]
        return {
            "client": said, "after": fins[0] - data[-1] if fins else None, "server": behind,
            "ends": stage.ends(client), "probes": len(probes), "fresh": await stage.fresh(),
        }  # fmt: skip


async def closed_scene() -> dict[str, Any]:
    """Two clients' connections; one client's are closed."""
    async with staged(cell("proxy-closed")) as stage:
        client, server = await stage.flow()
        assert stage.proxies is not None
        stage.proxies.close("10.16.0.99")
        others = await read(client, NEVER_SECONDS)
        closing = asyncio.create_task(asyncio.to_thread(faults.load("proxy-closed").apply, stage.scene))
        said, behind = await read(client, SOON_SECONDS), await read(server, SOON_SECONDS)
        back, _ = await stage.flow()
        flows = await closing
        stage.scene.path.drain()
        ends = stage.ends(client)
        came_again = await read(back, NEVER_SECONDS)
        await asyncio.to_thread(stage.proxies.close, stage.nets.client_address)
        return {
            "others": others, "came again": came_again,
            "flows": [flow.port == client.getsockname()[1] for flow in flows or ()],
            "client": said, "server": behind, "ends": ends, "fresh": await stage.fresh(),
        }  # fmt: skip


async def ended_scene() -> dict[str, Any]:
    """The proxy ends for a while and is there again; healing comes before it, after it, and twice."""
    async with staged(cell("port-forward-ended")) as stage:
        fault = faults.load("proxy-ended")
        fault.heal(stage.scene)
        before = await stage.fresh()
        client, _ = await stage.flow()
        await asyncio.to_thread(fault.apply, stage.scene)
        said = await read(client, SOON_SECONDS)
        stage.scene.path.drain()
        ends, during = stage.ends(client), await stage.fresh()
        healed = []
        for _ in range(2):
            fault.heal(stage.scene)
            healed.append(await stage.fresh())
        return {"before": before, "client": said, "ends": ends, "during": during, "healed": healed}


async def mute_scene() -> dict[str, Any]:
    """A server falls mute for a while and answers again; healing comes before it, after it, and twice."""
    async with staged(cell("server-mute")) as stage:
        fault = faults.load("server-mute")
        fault.heal(stage.scene)
        before = await stage.fresh()
        client, server = await stage.flow()
        await asyncio.to_thread(fault.apply, stage.scene)
        told = await read(client, SOON_SECONDS), await read(server, SOON_SECONDS)
        stage.scene.path.drain()
        resets = stage.ends(client), stage.ends(client, "server")
        held, during = await stage.connect(), await stage.fresh(NEVER_SECONDS)
        await asyncio.get_running_loop().sock_sendall(held, b"hello?")
        healed = []
        for _ in range(2):
            fault.heal(stage.scene)
            healed.append(await stage.fresh())
        unacknowledged = fcntl.ioctl(held, termios.TIOCOUTQ, bytes(4))
        return {
            "before": before, "told": told, "resets": resets, "during": during, "healed": healed,
            "held": await read(held, NEVER_SECONDS), "unacknowledged": int.from_bytes(unacknowledged, sys.byteorder),
        }  # fmt: skip


async def mute_broken_scene() -> dict[str, Any]:
    """The fault breaks in the midst of being applied, and is healed; then it is applied once more."""
    async with staged(cell("server-mute")) as stage:
        fault, reset = faults.load("server-mute"), stage.scene.path.reset

        def broken(_flows: object) -> None:
            raise OSError("no buffer space")

        client, _ = await stage.flow()
        stage.scene.path.reset = broken  # type: ignore[assignment, method-assign]  # what a fault must survive
        try:
            await asyncio.to_thread(fault.apply, stage.scene)
        except OSError:
            fault.heal(stage.scene)
        stage.scene.path.reset = reset  # type: ignore[method-assign]  # as it was
        healed, old = await stage.fresh(), await read(client, NEVER_SECONDS)
        await asyncio.to_thread(fault.apply, stage.scene)
        during, told = await stage.fresh(NEVER_SECONDS), await read(client, SOON_SECONDS)
        fault.heal(stage.scene)
        return {"healed": healed, "old": old, "during": during, "told": told, "again": await stage.fresh()}


async def gone_scene() -> dict[str, Any]:
    """HAProxy is killed in the midst of a run."""
    async with staged(cell("proxy-closed")) as stage:
        assert stage.proxies is not None
        stage.proxies.check()
        component = stage.proxies._component
        component.signal(signal.SIGKILL)
        await component._process.wait()
        said = []
        try:
            stage.proxies.check()
        except LabFailure as error:
            said.append(str(error))
        try:
            stage.proxies.close("10.16.0.99")
        except LabFailure as error:
            said.append(str(error))
        return {"said": said}


async def listeners_scene() -> dict[str, Any]:
    """A stage of three idle timeouts, one of them twice."""
    cells = [cell("haproxy-20s", 2.0), cell("haproxy-50s", 5.0), cell("proxy-closed"), cell("port-forward-ended")]
    async with staged(*cells) as stage:
        assert stage.proxies is not None
        return {"ports": [stage.proxies.server(each).port for each in cells]}


SCENES: dict[str, tuple[Callable[..., Coroutine[Any, Any, Any]], *tuple[float, ...]]] = {
    "idle": (idle_scene, IDLE, SOON_SECONDS),
    "idle for longer": (idle_scene, 60.0, IDLE + 1),
    "closed": (closed_scene,),
    "ended": (ended_scene,),
    "mute": (mute_scene,),
    "mute, broken": (mute_broken_scene,),
    "gone": (gone_scene,),
    "listeners": (listeners_scene,),
}
Played = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """All scenes play at once, since they mostly wait; each test asks for its own."""
    with ThreadPoolExecutor(len(SCENES)) as pool:
        futures = {name: pool.submit(run_inside, scene, *arguments) for name, (scene, *arguments) in SCENES.items()}
        yield lambda name: futures[name].result()


def test_probes_keep_no_connection_open_at_a_proxy(played: Played) -> None:
    """Who relies on TCP keepalive behind HAProxy would be told that it helps."""
    seen = played("idle")
    assert (seen["client"], seen["server"]) == ("end", "end")
    assert seen["probes"] >= 1, "without any probe this would show nothing about them"
    assert IDLE - 0.5 < seen["after"] < IDLE + 2.5
    assert seen["ends"][0] == "FIN to-client"
    assert "RST to-client" not in seen["ends"]
    assert seen["fresh"] == "answered"


def test_a_proxy_with_a_longer_timeout_closes_nothing(played: Played) -> None:
    """The mutant of the above: the same quiet client, and the path has a longer breath."""
    seen = played("idle for longer")
    assert (seen["client"], seen["server"], seen["ends"]) == ("silence", "silence", [])


def test_closing_is_by_fin_on_both_sides_and_one_clients_affair(played: Played) -> None:
    """A reset would be another scenario, which more clients notice; another cell's watch must go on."""
    seen = played("closed")
    assert seen["others"] == "silence"
    assert seen["came again"] == "silence", "a client that is back at once keeps its new connection"
    assert seen["flows"] == [True]
    assert (seen["client"], seen["server"]) == ("end", "end")
    assert seen["ends"][0] == "FIN to-client"
    assert "RST to-client" not in seen["ends"]
    assert seen["fresh"] == "answered"


def test_a_proxy_that_ended_refuses_until_it_is_there_again(played: Played) -> None:
    """Were new connections dropped instead, or let through, nobody would see what a client does when it is refused."""
    seen = played("ended")
    assert seen["before"] == "answered"
    assert (seen["client"], seen["ends"][0]) == ("end", "FIN to-client")
    assert "RST to-client" not in seen["ends"]
    assert seen["during"] == "ConnectionRefusedError"
    assert seen["healed"] == ["answered", "answered"]


def test_a_mute_server_accepts_and_never_answers(played: Played) -> None:
    """Were it refused or reset instead, every client would notice, and the one that waits for ever would look well."""
    seen = played("mute")
    assert seen["before"] == "answered"
    assert seen["told"] == ["ConnectionResetError", "ConnectionResetError"]
    assert seen["resets"] == [["RST to-client"], ["RST to-server"]]
    assert seen["during"] == "silence"
    assert seen["healed"] == ["answered", "answered"]
    assert (seen["held"], seen["unacknowledged"]) == ("silence", 0), "what was accepted stays open, and mute"


def test_a_mute_server_that_broke_off_is_healed(played: Played) -> None:
    """A path that stays mute after a fault that failed would charge the next client."""
    seen = played("mute, broken")
    assert (seen["healed"], seen["old"]) == ("answered", "silence")
    assert (seen["during"], seen["told"], seen["again"]) == ("silence", "ConnectionResetError", "answered")


def test_the_end_of_haproxy_is_the_labs_failure(played: Played) -> None:
    """Every client behind it would be charged with a path that leads nowhere."""
    said = played("gone")["said"]
    assert len(said) == 2
    assert all("proxies.log" in each for each in said)


def test_every_idle_timeout_has_a_listener_of_its_own(played: Played) -> None:
    """Two paths at one listener would have one timeout."""
    assert played("listeners")["ports"] == [PROXY_PORT, PROXY_PORT + 1, PROXY_PORT + 2, PROXY_PORT + 2]
