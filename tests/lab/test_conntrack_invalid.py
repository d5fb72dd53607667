"""The report of kubernetes#74839 again, packet by packet: what conntrack calls INVALID, and what paths make of it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.lab.environments import built
from tests.lab.sandboxed import run_inside
from watcher import journal, plan
from watcher.catalog import Catalog
from watcher.errors import LabUnavailable
from watcher.faults import conntrack_invalid
from watcher.judge.flows import JITTER_SECONDS
from watcher.judge.results import results_of
from watcher.lab import network, nftables, path, sockets
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, VIRTUAL_ADDRESS, VIRTUAL_PORT, Server
from watcher.lab.control_plane import haproxy, kube_proxy
from watcher.lab.control_plane.binaries import Binaries, find
from watcher.lab.control_plane.kube_proxy import RULES
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Scene
from watcher.model import CellPlan, Results, Touch
from watcher.programs.environments import cache_folder
from watcher.records import Entry, LabError, Packet, Settled, Sockets, Touched

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

STACK = "python-urllib3"
LEAK = "conntrack-invalid-leak"
IPTABLES = "conntrack-invalid-kube-proxy-iptables"
LIBERAL = "conntrack-invalid-iptables-liberal"
NFTABLES = "conntrack-invalid-kube-proxy-nftables"
EXPECTED = {
    (IPTABLES, "default"): "ok",
    (IPTABLES, "tcp-keepalive"): "ok",
    (LIBERAL, "default"): "ok",
    (LIBERAL, "tcp-keepalive"): "ok",
    (NFTABLES, "default"): "stuck",
    (NFTABLES, "tcp-keepalive"): "ok",
    (LEAK, "default"): "stuck",
    (LEAK, "tcp-keepalive"): "ok",
}
SCENARIOS = (IPTABLES, LIBERAL, NFTABLES, LEAK)
INVALID = nftables.FORGOTTEN_TO_CLIENT
"""The counter of the lab's own rule for INVALID packets."""
PORTION = 10_000
"""Octets sent before the other side reads them; small enough for any buffer."""


@pytest.fixture(scope="module")
def control_plane() -> Binaries:
    try:
        found = find("kubernetes", cache_folder())
        haproxy.binary()
    except LabUnavailable as missing:
        pytest.skip(str(missing))
    assert found is not None
    if lacking := kube_proxy.missing(found):
        pytest.skip("; ".join(lacking.values()))
    return found


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "watcher", "run", "--scale", "10", "--output", str(folder), *arguments]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=environment)


@pytest.fixture(scope="module")
def ran(control_plane: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 - or it skips
    """The folder of one run of the four scenarios."""
    built(STACK)
    folder = tmp_path_factory.mktemp("run") / "out"
    cells = ",".join(f"{STACK}/{profile}/{scenario}" for scenario, profile in EXPECTED)
    done = run(folder, "--control-plane", "kubernetes", "--cells", cells)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def results(folder: Path) -> Results:
    return results_of(journal.read(folder))


def records(folder: Path, scenario: str, profile: str = "default") -> list[Entry]:
    return [each for each in journal.read(folder) if each.cell == f"{STACK}/{profile}/{scenario}#1"]


def after_l0(folder: Path, scenario: str) -> list[Packet]:
    """The watch's packets once L0 has crossed both links, and before the touch.

    Other ports: the connection that told the lab that kube-proxy is ready, which the server may still be closing.
    """
    here = records(folder, scenario)
    (settled,) = (each for each in here if isinstance(each, Settled))
    (touch,) = (each for each in here if isinstance(each, Touched) and each.role is Touch.TOUCH)
    packets = (each for each in here if isinstance(each, Packet) and each.port == settled.port)
    between = (each for each in packets if settled.l0 + JITTER_SECONDS < each.t < touch.sent)
    return sorted(between, key=lambda each: each.t)


@pytest.mark.parametrize(("scenario", "profile"), EXPECTED)
def test_a_verdict_has_its_proof(scenario: str, profile: str, ran: Path) -> None:
    """A maintainer who runs the report's scenario must get the report, and with either cure none."""
    seen = results(ran).by_key()[STACK, profile, scenario]
    assert (seen.verdict, seen.proof) == (EXPECTED[scenario, profile], "happened"), seen.reason


def test_the_controls_agree(ran: Path) -> None:
    """A path that delivers to nobody, or to everybody, would be blamed on the clients."""
    seen = results(ran)
    assert seen.run.trusted, seen.run.distrust
    assert len(seen.controls) == 2 * len(SCENARIOS)
    assert [each for each in journal.read(ran) if isinstance(each, LabError)] == []


@pytest.mark.parametrize(
    ("scenario", "drops"), [(IPTABLES, True), (LIBERAL, False), (NFTABLES, False)]
)  # fmt: skip
def test_the_rule_is_kube_proxys_own(scenario: str, drops: bool, ran: Path) -> None:
    """A release of kube-proxy that changes its mind changes what the scenarios say, and someone must notice."""
    rules = (ran / "cells" / STACK / "default" / scenario / RULES).read_text()
    assert ("KUBE-SVC-" in rules) is (scenario != NFTABLES)
    iptables = any("KUBE-FORWARD" in line and "INVALID" in line and "DROP" in line for line in rules.splitlines())
    nft = any("ct state" in line and "invalid" in line for line in rules.splitlines())
    assert (iptables, nft) == (drops, False)


@pytest.mark.parametrize("scenario", [NFTABLES, LEAK])
def test_the_ladder_is_the_reports(scenario: str, ran: Path) -> None:
    """Its packets 3, 4 and 5, and the end of them: whoever knows the report must recognise it."""
    left, came, reset, arrived = after_l0(ran, scenario)
    # 3: the server answers the client on a connection that conntrack knows.
    assert (left.link, left.direction, left.peer) == ("server", "to-client", None)
    # 4: it is forwarded, with the server's own address.
    assert (came.link, came.direction, came.seq, came.peer) == ("client", "to-client", left.seq, API_ADDRESS)
    # 5: the client's kernel knows no such connection and resets that address; a legitimate packet, so it arrives.
    assert (reset.link, reset.direction, reset.flags, reset.peer) == ("client", "to-server", "R", API_ADDRESS)
    assert (arrived.link, arrived.direction, arrived.flags, arrived.seq) == ("server", "to-server", "R", reset.seq)
    assert reset.seq == left.ack
    # "Let's close the connection": the server's socket is gone, the client's is as it was.
    at_touch = [each for each in records(ran, scenario) if isinstance(each, Sockets) and each.moment == "touch"]
    states = {each.side: [one.state for one in each.sockets if one.port == left.port] for each in at_touch}
    assert states == {"client": ["ESTABLISHED"], "server": []}


def test_the_ladders_of_the_cures(ran: Path) -> None:
    """Either cure stops the report at another step: DROP at packet 4, be_liberal at packet 5."""
    (left,) = after_l0(ran, IPTABLES)
    assert (left.link, left.direction) == ("server", "to-client")
    left, came, answer, arrived = after_l0(ran, LIBERAL)
    assert (came.link, came.seq, came.peer) == ("client", left.seq, None)
    assert (answer.link, answer.flags, answer.peer, arrived.link) == ("client", "A", None, "server")


def test_a_fault_that_is_switched_off_is_invalid(control_plane: Binaries, tmp_path: Path) -> None:  # noqa: ARG001
    """Otherwise the four columns would be filled whatever the lab does."""
    built(STACK)
    catalog, arguments = Catalog.load(), []
    for scenario in SCENARIOS:
        file = tmp_path / f"{scenario.removeprefix('conntrack-')}-off.toml"
        made = catalog.scenarios[scenario]
        before, after = list(made.proof.before), list(made.proof.after)
        file.write_text(
            f'description = "nothing happens"\npath = "{made.path}"\nfault = "none"\ngap_seconds = 30.0\n'
            f"[proof]\nbefore = {before}\nafter = {after}\n"
        )
        arguments += ["--scenario", str(file)]
    cells = ",".join(f"{STACK}/{profile}/invalid-*-off" for profile in ("default", "tcp-keepalive"))
    done = run(tmp_path / "out", "--control-plane", "kubernetes", *arguments, "--cells", cells)
    assert done.returncode == 3, done.stdout + done.stderr
    seen = results(tmp_path / "out").cells
    assert [cell.verdict for cell in seen] == ["invalid"] * 8
    for cell in seen:
        assert cell.reason.startswith("unproven: packet-"), cell.reason


def cell() -> CellPlan:
    catalog = Catalog.load()
    stack, profile = catalog.stacks[STACK].stack, catalog.profiles["default"]
    return plan.make(plan.Choice([stack], [profile], [catalog.scenarios[LEAK]], catalog.paths, {}))[-1]


async def leak_scene(ahead: int, octets: int, buffer: int | None) -> dict[str, Any]:
    """A flow with some data behind it, and a client's receive buffer of that size (None: as the kernel lets it grow);
    then the fault, with its packet that far ahead.
    """
    conntrack_invalid.BEYOND_WINDOW = ahead
    seen: list[Entry] = []
    made = cell()
    cluster = network.make_cluster()
    nets = network.CellNetwork.named(7)
    Namespace.create([nets.client.name, nets.path.name])
    network.make_cell(nets, cluster)
    path.prepare(made, nets)
    lab_path = path.LabPath(made, nets, Path(tempfile.mkdtemp()), seen.append)

    def listen() -> socket.socket:
        listener = socket.create_server((API_ADDRESS, API_KEEPALIVE_PORT))
        listener.settimeout(30)
        return listener

    def connect() -> socket.socket:
        made = socket.socket()
        if buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        made.settimeout(30)
        made.connect((VIRTUAL_ADDRESS, VIRTUAL_PORT))
        return made

    listener = cluster.enter(listen)
    client = await asyncio.to_thread(nets.client.enter, connect)
    server, _ = await asyncio.to_thread(listener.accept)
    server.settimeout(30)

    def talk() -> None:
        for source, sink in ((client, server), (server, client)):
            for _ in range(octets // PORTION):
                source.sendall(b"x" * PORTION)
                left = PORTION
                while left:
                    left -= len(sink.recv(left))

    await asyncio.to_thread(talk)
    await asyncio.sleep(0.3)
    lab_path.drain()
    port = client.getsockname()[1]
    before = nftables.counters(nets.path)[INVALID]
    scene = Scene(path=lab_path, cluster=cluster, shared=Server(API_ADDRESS, API_KEEPALIVE_PORT))
    found = await asyncio.to_thread(conntrack_invalid.apply, scene)
    await asyncio.sleep(0.5)
    conntrack_invalid.heal(scene)
    conntrack_invalid.heal(scene)
    lab_path.drain()
    result = {
        "found": [flow.server for flow in found or ()],
        "invalid": nftables.counters(nets.path)[INVALID] - before,
        "served": [each.state for each in sockets.of_peer(cluster, nets.client_address) if each.port == port],
        "astray": [packet.flags for packet in seen if isinstance(packet, Packet) and packet.peer == API_ADDRESS],
        "client": told(client),
    }
    lab_path.close()
    return result


def told(client: socket.socket) -> str:
    """What the client's own kernel says of its connection, without sending anything."""
    client.setblocking(False)
    try:
        return "data" if client.recv(1) else "closed"
    except BlockingIOError:
        return "nothing"
    except ConnectionResetError:
        return "reset"


@pytest.mark.parametrize(("octets", "buffer"), [(10_000, 4_096), (5_000_000, None)])
def test_conntrack_refuses_the_packet_whatever_the_window(octets: int, buffer: int | None) -> None:
    """With window scaling a packet must lie far ahead to be INVALID; else the fault depends on the client's buffers."""
    seen = run_inside(leak_scene, conntrack_invalid.BEYOND_WINDOW, octets, buffer)
    assert seen == {
        "found": [f"{API_ADDRESS}:{API_KEEPALIVE_PORT}"],
        "invalid": 2,  # the packet itself, and the reset of a connection that conntrack does not know
        "served": [],
        "astray": ["AP", "R"],
        "client": "nothing",
    }


@pytest.mark.parametrize("ahead", [-1_000, 0])
def test_conntrack_lets_a_nearer_packet_through(ahead: int) -> None:
    """The mutant of the fault: an old packet, or one in the window, is translated, and nothing comes of it."""
    seen = run_inside(leak_scene, ahead, 10_000, 4_096)
    assert (seen["invalid"], seen["served"], seen["astray"]) == (0, ["ESTABLISHED"], [])
