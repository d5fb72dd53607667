"""The report of the force-deleted pod (projectcalico/calico#7983) and its negative controls: what decides between them.

First the mechanisms, each with one client and nothing but kernels; then whole cells behind the real kube-proxy.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.lab.environments import built
from tests.lab.sandboxed import run_inside
from tests.lab.test_run import Ran, run
from watcher import faults, journal, plan
from watcher.catalog import Catalog
from watcher.lab import conntrack, local_pod, network, path
from watcher.lab.addresses import API_ADDRESS, VIRTUAL_ADDRESS, VIRTUAL_PORT, Server, own_link
from watcher.lab.control_plane.binaries import find
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Scene
from watcher.model import Balancer, CellPlan
from watcher.programs import environments
from watcher.records import Entry, Fault, Packet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

PORT = 8000
ANSWER_SECONDS = 2.5
"""How long a client waits for what takes a millisecond; its kernel has repeated its message three times by then."""
SAME_NODE, HEADLESS = "pod-deleted-same-node", "pod-deleted-headless"
CLUSTER_IP, ENDED = "pod-deleted-kube-proxy-iptables", "pod-ended-kube-proxy-iptables"


class Pod:
    """As much of a ``scene.OwnServer`` as these faults need: an echo of one connection."""

    deaf = False

    def __init__(self, cluster: Namespace, answer: Literal["silence", "unreachable"], *, speaks: bool) -> None:
        self.server = Server(own_link(1).far, PORT)
        self.namespace = network.make_server(1, cluster)
        self.sockets = [self.namespace.enter(lambda: listening(self.server.address))]
        self._cluster = cluster
        self._answer = answer
        self._speaks = speaks

    def vanish(self, _answer: str) -> None:
        """``speaks``: its process ends while its network is still there."""
        if self._speaks:
            self._end()
        network.unplug_server(1, self._cluster, self._answer)
        self._end()

    def _end(self) -> None:
        for each in self.sockets:
            each.close()


def listening(address: str) -> socket.socket:
    listener = socket.create_server((address, PORT))
    listener.setblocking(False)
    return listener


def planned(scenario: str) -> CellPlan:
    """A cell of it, but balanced by the lab's own rules."""
    catalog = Catalog.load()
    stack, profile = catalog.stacks["echo-python"].stack, catalog.profiles["default"]
    made = plan.make(plan.Choice([stack], [profile], [catalog.scenarios[scenario]], catalog.paths, {}))[-1]
    return made.model_copy(update={"balancer": Balancer.LAB})


async def scene(scenario: str, mutant: str) -> dict[str, Any]:
    """A client that is answered, then the pod is deleted, then the client speaks again."""
    made, seen = planned(scenario), list[Entry]()
    cluster = network.make_cluster()
    pod = Pod(cluster, "unreachable" if mutant == "unreachable" else "silence", speaks=mutant == "speaks")
    nets = network.CellNetwork.named(1, server=pod.server)
    front = (VIRTUAL_ADDRESS, VIRTUAL_PORT)
    if made.headless:
        front = (pod.server.address, pod.server.port)
        nets = network.CellNetwork(1, nets.client, nets.path, server=pod.server, direct=frozenset({pod.server.address}))
    Namespace.create([nets.client.name, nets.path.name])
    network.make_cell(nets, cluster)
    path.prepare(made, nets)
    if made.same_node:
        local_pod.attach(nets, pod.namespace, pod.server.address)
    if mutant == "not picked up":
        nets.path.write_sysctls({"net.netfilter.nf_conntrack_tcp_loose": 0})
    if mutant == "not forgotten":
        conntrack.forget_server = lambda *_: 0
    lab_path = path.LabPath(made, nets, Path(tempfile.mkdtemp()), seen.append)
    successor = cluster.enter(lambda: listening(API_ADDRESS))

    loop = asyncio.get_running_loop()
    client = await asyncio.to_thread(nets.client.enter, lambda: socket.create_connection(front, timeout=5))
    client.setblocking(False)
    accepted, _ = await loop.sock_accept(pod.sockets[0])
    pod.sockets.append(accepted)
    accepted.setblocking(False)
    await loop.sock_sendall(client, b"before")
    assert await loop.sock_recv(accepted, 100) == b"before"
    await loop.sock_sendall(accepted, b"answer")
    assert await loop.sock_recv(client, 100) == b"answer"
    links = {entry.link for entry in drained(lab_path, seen) if isinstance(entry, Packet) and entry.length}

    acting = Scene(lab_path, cluster, Server(API_ADDRESS, PORT), own=pod)  # type: ignore[arg-type]  # as much as needed
    flows = await asyncio.to_thread(faults.load(made.fault).apply, acting)
    known = lab_path.flows()
    told = await read(client, 0.05)
    before = len(drained(lab_path, seen))
    said = "sent"
    try:
        await loop.sock_sendall(client, b"after")
    except OSError as error:
        said = type(error).__name__
    then = await read(client, ANSWER_SECONDS)
    after = [entry for entry in drained(lab_path, seen)[before:] if isinstance(entry, Packet)]
    port = client.getsockname()[1]
    found = {
        "links": sorted(links),
        "found": [(flow.port == port, flow.server) for flow in flows or ()],
        "known": [flow.server for flow in known if flow.port == port],
        "told": told,
        "said": said,
        "then": then,
        "tries": len([p for p in after if p.link == "client" and p.length]),
        "resets": [(p.link, p.server) for p in after if p.direction == "to-client" and "R" in p.flags],
        "fresh": await asyncio.to_thread(nets.client.enter, lambda: attempt((VIRTUAL_ADDRESS, VIRTUAL_PORT))),
        "old": await asyncio.to_thread(nets.client.enter, lambda: attempt((pod.server.address, PORT))),
    }
    lab_path.close()
    successor.close()
    client.close()
    network.remove_cell(nets)
    network.remove_server(1, cluster)
    return found


def drained(lab_path: path.LabPath, seen: list[Entry]) -> list[Entry]:
    lab_path.drain()
    return seen


async def read(client: socket.socket, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            return (await asyncio.get_running_loop().sock_recv(client, 100)).decode() or "end"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return type(error).__name__


def attempt(address: tuple[str, int]) -> str:
    try:
        socket.create_connection(address, timeout=1.0).close()
    except TimeoutError:
        return "silence"
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "works"


def test_on_the_same_node_the_successor_resets_what_it_never_had() -> None:
    """The report's control: with client and server on one node the issue does not happen."""
    seen = run_inside(scene, SAME_NODE, "")
    pod = f"{own_link(1).far}:{PORT}"
    assert seen["links"] == ["client", "server"], "the pod's own link is not captured"
    assert seen["found"] == [[True, pod]]
    assert (seen["known"], seen["told"]) == ([], "silence"), "nobody says a word before the client does"
    assert (seen["said"], seen["then"], seen["tries"]) == ("sent", "ConnectionResetError", 1)
    assert seen["resets"] == [["server", API_ADDRESS], ["client", None]]
    assert (seen["fresh"], seen["old"]) == ("works", "silence")


@pytest.mark.parametrize("mutant", ["not forgotten", "not picked up"])
def test_it_takes_both_that_the_node_forgets_and_that_it_picks_up(mutant: str) -> None:
    """The mutants: a reset that came of anything else, such as the pod's link that went, would be no control at all."""
    seen = run_inside(scene, SAME_NODE, mutant)
    assert (seen["known"] == []) is (mutant == "not picked up")
    assert (seen["then"], seen["resets"]) == ("silence", [])
    assert seen["tries"] >= 3
    assert seen["fresh"] == "works"


@pytest.mark.parametrize("answer", ["silence", "unreachable"])
def test_without_a_virtual_address_the_flow_is_as_silent(answer: str) -> None:
    """A headless Service passes for a cure. Nor does a router's word help: only new connections hear it."""
    seen = run_inside(scene, HEADLESS, answer)
    pod = f"{own_link(1).far}:{PORT}"
    assert (seen["found"], seen["known"]) == ([[True, pod]], [pod])
    assert (seen["told"], seen["said"], seen["then"]) == ("silence", "sent", "silence")
    assert seen["tries"] >= 3
    assert seen["resets"] == []
    assert seen["old"] == {"silence": "silence", "unreachable": "EHOSTUNREACH"}[answer]


@pytest.mark.parametrize("scenario", [HEADLESS, CLUSTER_IP])
def test_what_decides_is_whether_the_pods_last_words_get_out(scenario: str) -> None:
    """The mutant: the pod's network goes after its process, as with other network plugins, and its FIN is heard."""
    seen = run_inside(scene, scenario, "speaks")
    assert seen["told"] == "end"
    assert run_inside(scene, scenario, "")["told"] == "silence"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Ran]]:
    if find("auto", environments.cache_folder()) is None:
        pytest.skip("needs the real control plane: `watcher build control-plane`")
    built("echo-python", "python-kubernetes")
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(
            run, tmp_path_factory.mktemp("run") / "out", "--control-plane", "kubernetes", "--scale", "10",
            "--stacks", "echo-python,python-kubernetes", "--profiles", "default,read-timeout",
            "--scenarios", f"{SAME_NODE},{HEADLESS},{CLUSTER_IP},{ENDED}",
        )  # fmt: skip


def packets(ran: Ran, cell: str) -> tuple[Fault, list[Packet]]:
    """The fault, and what was seen of its flow; from before it, since it is recorded when it is done."""
    mine = [record for record in journal.read(ran.folder) if record.cell == f"{cell}#1"]
    [fault] = [record for record in mine if isinstance(record, Fault) and record.action == "apply"]
    [flow] = fault.flows
    return fault, [r for r in mine if isinstance(r, Packet) and r.port == flow.port and r.t > fault.t - 0.5]


def test_one_client_meets_three_ends(ran: Future[Ran]) -> None:
    """The report in one run: the same program dies at once where it is told, and where it is not, no scale decides."""
    done = ran.result()
    assert done.status == 0, done.output + done.errors
    for scenario in (SAME_NODE, ENDED):
        found = done.cell("echo-python", scenario)
        assert (found.verdict, found.proof) == ("died", "happened"), found
    for scenario in (HEADLESS, CLUSTER_IP):
        assert done.cell("echo-python", scenario).reason.startswith("not scalable: what the client sends meets silence")
        bounded = done.cell("echo-python", scenario, "read-timeout")
        assert (bounded.verdict in ("ok", "late"), bounded.proof) == (True, "happened"), bounded


def test_the_next_message_on_the_same_node_is_reset_by_the_pod_that_took_over(ran: Future[Ran]) -> None:
    """Behind the real kube-proxy: its rules lead what the node's conntrack picks up."""
    _, seen = packets(ran.result(), f"echo-python/default/{SAME_NODE}")
    [sent] = [p for p in seen if p.link == "server" and p.direction == "to-server" and p.length and p.server]
    [reset] = [p for p in seen if p.link == "client" and p.direction == "to-client" and "R" in p.flags]
    assert sent.server == API_ADDRESS
    # Each link has a clock of its own, true to some milliseconds: the order is in the numbers.
    assert reset.seq == sent.ack
    assert abs(reset.t - sent.t) < 1


@pytest.mark.parametrize("scenario", [HEADLESS, CLUSTER_IP])
def test_with_and_without_a_virtual_address_it_is_the_same_ladder(scenario: str, ran: Future[Ran]) -> None:
    """As far as a read timeout lets it climb: the request again, ever later, to a pod that is gone."""
    fault, seen = packets(ran.result(), f"echo-python/read-timeout/{scenario}")
    sent = [p.t for p in seen if p.link == "client" and p.direction == "to-server" and p.length and p.t > fault.t]
    pauses = [later - earlier for earlier, later in pairwise(sent)]
    assert len(pauses) >= 3
    assert all(later > 1.5 * earlier for earlier, later in pairwise(pauses[1:])), pauses
    assert [p for p in seen if p.direction == "to-client" and p.t > fault.t] == []


def test_a_watch_that_says_nothing_is_told_nothing_anywhere(ran: Future[Ran]) -> None:
    """On the same node, too: what tells the echo is its own next message."""
    done = ran.result()
    for scenario in (SAME_NODE, HEADLESS, CLUSTER_IP):
        found = done.cell("python-kubernetes", scenario)
        assert (found.verdict, found.proof) == ("stuck", "happened"), found
    assert done.cell("python-kubernetes", ENDED).verdict in ("ok", "died")


def test_a_new_connection_by_name_leads_to_the_pod_that_took_over(ran: Future[Ran]) -> None:
    """A client that comes again by the name of a headless Service finds nobody, and every profile passes for deaf."""
    fault, _ = packets(ran.result(), f"python-kubernetes/read-timeout/{HEADLESS}")
    mine = [r for r in journal.read(ran.result().folder) if r.cell == f"python-kubernetes/read-timeout/{HEADLESS}#1"]
    new = [p for p in mine if isinstance(p, Packet) and p.link == "server" and "S" in p.flags and p.t > fault.t]
    assert API_ADDRESS in {p.server for p in new}
    assert ran.result().cell("python-kubernetes", HEADLESS, "read-timeout").verdict in ("ok", "late")
