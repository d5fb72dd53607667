"""Runs of the command through the real kube-proxy: verdicts, proofs, and that it was kube-proxy's doing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import dpkt
import pytest

from tests.lab.environments import built
from tests.lab.sandboxed import run_inside
from watcher import journal
from watcher.errors import ControlPlaneFailure, LabUnavailable
from watcher.judge.results import results_of
from watcher.lab import conntrack, network, sockets, sysctls
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, CLIENT_RANGE, VIRTUAL_ADDRESS, VIRTUAL_PORT
from watcher.lab.control_plane import haproxy, kube_proxy
from watcher.lab.control_plane.binaries import Binaries, find
from watcher.lab.control_plane.kube_proxy import LOG, RULES, KubeProxy
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.namespace import Namespace
from watcher.model import Balancer, CellResult, Results
from watcher.programs.environments import cache_folder
from watcher.records import Conntrack, LabError, Sysctls

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

PROGRAMS = ("folder", "kube_apiserver", "etcd", "kube_proxy")
MODES = ("iptables", "nftables")
PROFILES = ("default", "tcp-keepalive")
EXPECTED = {
    ("control", "default"): "ok",
    ("control", "tcp-keepalive"): "ok",
    ("blackhole", "default"): "stuck",
    ("blackhole", "tcp-keepalive"): "late",
}


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
    command = [sys.executable, "-m", "watcher", "run", "--scale", "12", "--output", str(folder), *arguments]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=environment)


@pytest.fixture(scope="module")
def ran(control_plane: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 - or it skips
    """The folder of one run of the control and the dead flow on the two paths."""
    built("python-urllib3")
    folder = tmp_path_factory.mktemp("run") / "out"
    cells = ",".join(
        f"python-urllib3/{profile}/{what}-kube-proxy-*" for profile in PROFILES for what in ("control", "blackhole")
    )
    done = run(folder, "--control-plane", "kubernetes", "--cells", cells)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def results(folder: Path) -> Results:
    return results_of(journal.read(folder))


def cell(folder: Path, profile: str, scenario: str) -> CellResult:
    return results(folder).by_key()["python-urllib3", profile, scenario]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("fault", "profile"), EXPECTED)
def test_a_verdict_by_cluster_ip_has_its_proof(fault: str, profile: str, mode: str, ran: Path) -> None:
    """Controllers run in pods: what is said about them must hold behind kube-proxy, and be proved there."""
    seen = cell(ran, profile, f"{fault}-kube-proxy-{mode}")
    assert (seen.verdict, seen.proof) == (EXPECTED[fault, profile], "happened"), seen.reason


def test_the_controls_agree(ran: Path) -> None:
    """A path that delivers to nobody, or to everybody, would be blamed on the clients."""
    seen = results(ran)
    assert seen.run.trusted, seen.run.distrust
    assert len(seen.controls) == 2 * 4


@pytest.mark.parametrize("mode", MODES)
def test_it_was_kube_proxy_that_sent_the_client_to_the_api_server(mode: str, ran: Path) -> None:
    """With a rule of the lab's own in its place, the path would have kube-proxy's name and nothing else of it."""
    place = ran / "cells" / "python-urllib3" / "default" / f"blackhole-kube-proxy-{mode}"
    rules = (place / RULES).read_text()
    assert ("KUBE-SVC-" in rules) is (mode == "iptables")
    assert ("table ip kube-proxy" in rules) is (mode == "nftables")
    assert f"{API_ADDRESS}:{API_KEEPALIVE_PORT}" in rules or f"{API_ADDRESS} . {API_KEEPALIVE_PORT}" in rules
    assert "chain balance" not in rules, "the lab's own DNAT is there, too"
    assert (place / LOG).stat().st_size
    records = list(journal.read(ran))
    here = [record for record in records if isinstance(record, Conntrack) and f"kube-proxy-{mode}#" in str(record.cell)]
    servers = {flow.server for record in here for flow in record.flows}
    assert servers == {f"{API_ADDRESS}:{API_KEEPALIVE_PORT}"}


@pytest.mark.parametrize("mode", MODES)
def test_clients_keep_their_addresses_on_the_way(mode: str, ran: Path) -> None:
    """kube-proxy masquerades who is no pod; then no packet on the server's link could be matched with the client's."""
    place = ran / "cells" / "python-urllib3" / "default" / f"control-kube-proxy-{mode}"
    with (place / "server-link.pcap").open("rb") as file:
        frames = [dpkt.ethernet.Ethernet(data).data for _, data in dpkt.pcap.Reader(file)]
    senders = {".".join(map(str, frame.src)) for frame in frames if isinstance(frame, dpkt.ip.IP)}
    first = CLIENT_RANGE.split(".")[:2]
    assert any(sender.split(".")[:2] == first for sender in senders), senders


def test_pinned_sysctls_stay_pinned(ran: Path) -> None:
    """kube-proxy writes conntrack timeouts unless it is told not to, and those decide cells."""
    read = [record for record in journal.read(ran) if isinstance(record, Sysctls)]
    assert len([record for record in read if record.moment == "touch"]) >= 12
    assert [record for record in read if record.wrong] == []


def test_nothing_broke_in_the_lab(ran: Path) -> None:
    """A cell that the lab broke is lost, even where the next one hides it."""
    assert [record for record in journal.read(ran) if isinstance(record, LabError)] == []


def test_the_embedded_control_plane_leaves_the_cells_out(tmp_path: Path) -> None:
    """It has no Services: a cell of it must neither run on another path nor count against a client."""
    built("python-urllib3")
    done = run(
        tmp_path / "out", "--control-plane", "embedded",
        "--cells", "python-urllib3/default/blackhole,python-urllib3/default/blackhole-kube-proxy-*",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for mode in MODES:
        seen = cell(tmp_path / "out", "default", f"blackhole-kube-proxy-{mode}")
        assert seen.verdict == "invalid"
        assert "needs the real control plane" in seen.reason
    assert cell(tmp_path / "out", "default", "blackhole").verdict == "stuck"


def mutate() -> None:
    """A kube-proxy with its own defaults, to which the clients are no pods."""
    arguments = kube_proxy.arguments

    def defaults(*given: Any) -> list[str]:
        line = [argument for argument in arguments(*given) if not argument.startswith("--conntrack-tcp")]
        return [f"{flag}=10.240.0.0/16" if (flag := each.split("=")[0]) == "--cluster-cidr" else each for each in line]

    kube_proxy.arguments = defaults  # type: ignore[assignment]  # a stand-in


async def path_scene(programs: dict[str, str], folder: str, mutated: bool) -> dict[str, Any]:
    """One path with each kube-proxy; what its kernel says once a client's connection stands."""
    if mutated:
        mutate()
    binaries = Binaries(**{**programs, **{name: Path(programs[name]) for name in PROGRAMS}})  # type: ignore[arg-type]
    cluster = network.make_cluster()
    seen: dict[str, Any] = {}
    async with KubernetesControlPlane.start(cluster, Path(folder), binaries=binaries) as running:
        for number, balancer in enumerate((Balancer.KUBE_PROXY_IPTABLES, Balancer.KUBE_PROXY_NFTABLES), 1):
            nets = network.CellNetwork.named(number)
            Namespace.create([nets.client.name, nets.path.name])
            network.make_cell(nets, cluster, owns_virtual=False)
            nets.path.write_sysctls(sysctls.path(None))
            token = await running.admit_node(nets.path.name, nets.node_address)
            access = kube_proxy.access(running.access.ca_pem, token)
            place = Path(folder) / balancer.value
            place.mkdir()
            before = await asyncio.to_thread(nets.client.enter, leads_somewhere)
            proxy = await KubeProxy.start(Path(programs["kube_proxy"]), balancer, nets, access, folder=place)
            try:
                await proxy.ready()
                with await asyncio.to_thread(nets.client.enter, connect):
                    flows = conntrack.flows(nets.path, nets.client_address, nets.fronts)
                    await asyncio.sleep(0.2)
                    served = sockets.of_peer(cluster, nets.client_address)
                    nodes = sockets.of_peer(cluster, nets.node_address)
                running_then = runs("kube-proxy")
            finally:
                await proxy.stop()
            seen[balancer.value.removeprefix("kube-proxy-")] = {
                "before": before,
                "wrong": sysctls.wrong(nets.path, sysctls.path(None)),
                "servers": [flow.server for flow in flows],
                "by client": len(served),
                "by node": len(nodes),
                "running": running_then,
                "left": runs("kube-proxy"),
            }
    return seen


def connect(seconds: float = 30) -> socket.socket:
    return socket.create_connection((VIRTUAL_ADDRESS, VIRTUAL_PORT), timeout=seconds)


def leads_somewhere() -> bool:
    try:
        connect(1).close()
    except OSError:
        return False
    return True


def runs(program: str) -> bool:
    """Whether a process of this name is in the sandbox."""
    names = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            names.append((process / "comm").read_text().strip())
    return program in names


@pytest.mark.parametrize("mutated", [False, True])
def test_a_path_is_what_the_plan_says_with_kube_proxy_in_it(
    mutated: bool, control_plane: Binaries, tmp_path: Path
) -> None:
    """Left to its defaults, kube-proxy sets conntrack's timeouts and hides the clients' addresses."""
    programs = {name: str(value) for name, value in vars(control_plane).items()}
    both = run_inside(path_scene, programs, str(tmp_path), mutated)
    assert set(both) == set(MODES)
    for seen in both.values():
        assert not seen["before"], "the virtual address works without kube-proxy"
        assert seen["servers"] == [f"{API_ADDRESS}:{API_KEEPALIVE_PORT}"]
        assert seen["running"]
        assert not seen["left"], "it outlives its cell"
        timeout = "net.netfilter.nf_conntrack_tcp_timeout_established"
        assert (timeout in seen["wrong"]) is mutated
        assert (seen["by client"] == 0) is mutated
        if not mutated:
            assert seen["wrong"] == {}


async def ends_scene(program: str, folder: str, ready_seconds: float) -> dict[str, Any]:
    """A kube-proxy that is no kube-proxy, in a cell's path of its own."""
    cluster = network.make_cluster()
    nets = network.CellNetwork.named(1)
    Namespace.create([nets.client.name, nets.path.name])
    network.make_cell(nets, cluster, owns_virtual=False)
    access = kube_proxy.access("", "a-token")
    started = await KubeProxy.start(Path(program), Balancer.KUBE_PROXY_NFTABLES, nets, access, folder=Path(folder))
    kube_proxy.READY_SECONDS = ready_seconds
    try:
        await started.ready()
    except ControlPlaneFailure as failure:
        return {"said": str(failure), "alive": started.memory_mib() is not None}
    finally:
        await started.stop()
    return {"said": "", "alive": True}


@pytest.mark.parametrize(
    ("program", "ready_seconds", "said"),
    [
        ("/bin/false", 60, "kube-proxy ended (status 1)"),
        ("sleep", 1, "kube-proxy had no rules for 10.96.0.1:443 after 1 s"),
    ],
)
def test_a_kube_proxy_that_makes_no_rules_is_told_with_its_log(
    program: str, ready_seconds: float, said: str, tmp_path: Path
) -> None:
    """Otherwise its cell's client is blamed for a path that leads nowhere, or waits for ever."""
    if program == "sleep":
        script = tmp_path / "sleeping"
        script.write_text("#!/bin/sh\nexec sleep 600\n")
        script.chmod(0o755)
        program = str(script)
    tmp_path.chmod(0o755)
    seen = run_inside(ends_scene, program, str(tmp_path), ready_seconds)
    assert said in seen["said"]
    assert str(tmp_path / LOG) in seen["said"]
