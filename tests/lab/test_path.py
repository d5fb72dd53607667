"""One path with real packets: how each ending treats a forgotten flow, and what the kernel shows of it."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab.sandboxed import run_inside
from watcher import faults, plan
from watcher.catalog import Catalog
from watcher.lab import network, path
from watcher.lab.addresses import API_ADDRESS, API_PORT, VIRTUAL_ADDRESS, VIRTUAL_PORT, Server
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Scene
from watcher.model import CellPlan, Ending
from watcher.records import Conntrack, Entry, Packet, PathAction

pytestmark = pytest.mark.lab

IDLE = 2.0
SOON_SECONDS = 30.0
"""For what comes: it does in milliseconds where the machine is not busy."""
NEVER_SECONDS = 0.5
"""For what does not come."""


def cell(scenario: str) -> CellPlan:
    """A cell's plan with an idle timeout of ``IDLE`` seconds."""
    catalog = Catalog.load()
    stack, profile = catalog.stacks["python-urllib3"].stack, catalog.profiles["default"]
    made = plan.make(plan.Choice([stack], [profile], [catalog.scenarios[scenario]], catalog.paths, {}))[-1]
    idle = IDLE if made.timing.idle_timeout_seconds else None
    return made.model_copy(update={"timing": made.timing.model_copy(update={"idle_timeout_seconds": idle})})


async def scene(scenario: str, keepalive: bool, quiet: float) -> dict[str, Any]:
    """A flow goes quiet on the path, then the server sends and the client tries to read."""
    seen: list[Entry] = []
    made = cell(scenario)
    cluster = network.make_cluster()
    nets = network.CellNetwork.named(7)
    Namespace.create([nets.client.name, nets.path.name])
    network.make_cell(nets, cluster)
    path.prepare(made, nets)
    lab_path = path.LabPath(made, nets, Path(tempfile.mkdtemp()), seen.append)

    def listen() -> socket.socket:
        listener = socket.create_server((API_ADDRESS, API_PORT))
        listener.setblocking(False)
        return listener

    def connect() -> socket.socket:
        return socket.create_connection((VIRTUAL_ADDRESS, VIRTUAL_PORT), timeout=SOON_SECONDS)

    loop = asyncio.get_running_loop()
    listener = cluster.enter(listen)
    client = await asyncio.to_thread(nets.client.enter, connect)
    if keepalive:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    client.setblocking(False)
    server, _ = await loop.sock_accept(listener)
    server.setblocking(False)
    await loop.sock_sendall(server, b"control touch")
    assert await loop.sock_recv(client, 100) == b"control touch"
    await asyncio.sleep(0.3)
    scene = Scene(lab_path, cluster, Server(API_ADDRESS, API_PORT))
    flows = await asyncio.to_thread(faults.load(made.fault).apply, scene)
    await asyncio.sleep(quiet)
    lives = keepalive or made.fault == "none"
    if not lives and made.timing.idle_timeout_seconds is not None:
        await forgotten(lab_path, made.ending, client.getsockname()[1], seen)
    await lab_path.look("touch")
    first = await read(client, NEVER_SECONDS)
    sent = "sent"
    try:
        await loop.sock_sendall(server, b"the touch")
    except OSError as error:
        sent = type(error).__name__
    then = await read(client, SOON_SECONDS if lives else 2 * NEVER_SECONDS)
    fresh = await asyncio.to_thread(nets.client.enter, connect)
    fresh.close()
    await asyncio.sleep(0.2)
    server_end = await read(server, NEVER_SECONDS)
    if flows is not None:
        for _ in range(2):
            faults.load(made.fault).heal(scene)
    lab_path.close()
    port = client.getsockname()[1]
    return {
        "before": first,
        "server sent": sent,
        "after": then,
        "server end": server_end,
        "known at touch": [f.state for e in seen if isinstance(e, Conntrack) for f in e.flows if f.port == port],
        "resets": sorted(
            f"{e.link} {e.direction}" for e in seen if isinstance(e, Packet) and "R" in e.flags and e.port == port
        ),
        "touch on links": sorted(
            {
                e.link
                for e in seen
                if isinstance(e, Packet) and e.port == port and e.direction == "to-client" and e.length == 9
            }
        ),
        "cut": None if flows is None else [flow.port == port for flow in flows],
    }


async def forgotten(lab_path: path.LabPath, ending: Ending, port: int, seen: list[Entry]) -> None:
    """Returns when the path has forgotten the flow and told whom it tells, or when time is over: then tests say so."""
    told = {Ending.RESET_BOTH: "reset-client", Ending.RESET_SERVER: "reset-server"}.get(ending)
    until = time.monotonic() + SOON_SECONDS
    while time.monotonic() < until:
        known = port in [flow.port for flow in await asyncio.to_thread(lab_path.flows)]
        if not known and (told is None or told in [each.action for each in seen if isinstance(each, PathAction)]):
            return
        await asyncio.sleep(0.05)


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


Played = Callable[[str], dict[str, Any]]
SCENES = {
    "azure-slb": ("azure-slb", False, IDLE + 0.7),
    "azure-slb-reset-lost": ("azure-slb-reset-lost", False, IDLE + 0.7),
    "azure-slb-silent": ("azure-slb-silent", False, IDLE + 0.7),
    "gcp-vpc": ("gcp-vpc", False, IDLE + 0.7),
    "aws-nlb": ("aws-nlb", False, IDLE + 0.7),
    "azure-slb with keepalive": ("azure-slb", True, IDLE + 2),
    "azure-slb-silent with keepalive": ("azure-slb-silent", True, IDLE + 2),
    "aws-nlb with keepalive": ("aws-nlb", True, IDLE + 2),
    "blackhole": ("blackhole", False, 0.5),
    "control": ("control", False, IDLE + 0.7),
}


@pytest.fixture(scope="module")
def played() -> Iterator[Callable[[str], dict[str, Any]]]:
    """All scenes play at once, since they mostly wait; each test asks for its own."""
    with ThreadPoolExecutor(len(SCENES)) as pool:
        futures = {name: pool.submit(run_inside, scene, *arguments) for name, arguments in SCENES.items()}
        yield lambda name: futures[name].result()


def test_reset_both_tells_client_and_server(played: Played) -> None:
    """azure-slb would otherwise prove nothing about clients that are told."""
    seen = played("azure-slb")
    assert seen["before"] == "ConnectionResetError"
    assert seen["server sent"] in ("ConnectionResetError", "BrokenPipeError")
    assert seen["resets"] == ["client to-client", "server to-server"]
    assert seen["known at touch"] == []


def test_reset_lost_tells_the_server_only(played: Played) -> None:
    """The client's ignorance is the whole scenario."""
    seen = played("azure-slb-reset-lost")
    assert (seen["before"], seen["after"]) == ("silence", "silence")
    assert seen["server sent"] in ("ConnectionResetError", "BrokenPipeError")
    assert seen["resets"] == ["server to-server"]


@pytest.mark.parametrize("scenario", ["azure-slb-silent", "gcp-vpc"])
def test_silent_tells_nobody(scenario: str, played: Played) -> None:
    """A reset from the router's own kernel would make the silent paths look kind."""
    seen = played(scenario)
    assert (seen["before"], seen["server sent"], seen["after"]) == ("silence", "sent", "silence")
    assert seen["resets"] == []
    assert seen["touch on links"] == ["server"]
    assert seen["known at touch"] == []


def test_reset_on_next_packet_tells_whoever_sends_next(played: Played) -> None:
    """aws-nlb: here the server sends, is reset, and the client still knows nothing."""
    seen = played("aws-nlb")
    assert (seen["before"], seen["server sent"], seen["after"]) == ("silence", "sent", "silence")
    assert seen["server end"] == "ConnectionResetError"
    assert seen["resets"] == ["server to-server"]


@pytest.mark.parametrize("scenario", ["azure-slb", "azure-slb-silent", "aws-nlb"])
def test_keepalive_keeps_the_flow(scenario: str, played: Played) -> None:
    """The cure must work on the very path that makes others deaf."""
    seen = played(f"{scenario} with keepalive")
    assert (seen["before"], seen["after"]) == ("silence", "the touch")
    assert seen["resets"] == []
    assert seen["known at touch"] == ["ESTABLISHED"]
    assert seen["touch on links"] == ["client", "server"]


def test_blackhole_kills_the_flow_and_nothing_else(played: Played) -> None:
    """New connections must work, or the scenario would be an outage."""
    seen = played("blackhole")
    assert seen["cut"] == [True]
    assert (seen["before"], seen["server sent"], seen["after"]) == ("silence", "sent", "silence")
    assert seen["touch on links"] == ["server"]


def test_without_a_fault_the_touch_arrives(played: Played) -> None:
    """The mutant of all of the above: the same flow, nothing wrong, the same length of silence."""
    seen = played("control")
    assert (seen["before"], seen["after"]) == ("silence", "the touch")
    assert seen["touch on links"] == ["client", "server"]
    assert seen["cut"] is None
