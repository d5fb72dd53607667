"""API servers of scenarios' own, really running, really harmed: what their clients meet, and that nobody else does."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import pytest

from tests.lab.http2_watch import DATA, END_STREAM, GOAWAY, STREAM, Http2Watch
from tests.lab.sandboxed import run_inside
from watcher.errors import LabUnavailable
from watcher.lab import conntrack, network, sockets, sysctls
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, VIRTUAL_PORT, own_link, own_virtual
from watcher.lab.control_plane import apiserver, haproxy, kube_proxy, own
from watcher.lab.control_plane.api_client import Answer
from watcher.lab.control_plane.binaries import Binaries, find
from watcher.lab.control_plane.kube_proxy import KubeProxy
from watcher.lab.control_plane.kubernetes import LOGS, KubernetesControlPlane
from watcher.lab.control_plane.own import OwnApiServer
from watcher.lab.namespace import NAMESPACES, Namespace
from watcher.model import Balancer, Touch
from watcher.programs import probe
from watcher.programs.environments import cache_folder
from watcher.updater import ApiServer, Trigger, Updater

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

PROGRAMS = ("folder", "kube_apiserver", "etcd", "kube_proxy")
KILLED, STOPPED, SILENT, UNREACHABLE, ANEW, MOVED = range(1, 7)
ALL = (KILLED, STOPPED, SILENT, UNREACHABLE, ANEW, MOVED)
SPOKEN = (KILLED, STOPPED)
"""Watched by HTTP/2, too."""
ENDPOINTS = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
WAIT_SECONDS = 30.0
"""For what takes milliseconds, or a few seconds, where the machine is not busy."""
SILENT_SECONDS = 3.0
"""For what does not come."""


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    try:
        found = find("kubernetes", cache_folder())
        haproxy.binary()
    except LabUnavailable as missing:
        pytest.skip(str(missing))
    assert found is not None
    if lacking := kube_proxy.missing(found):
        pytest.skip("; ".join(lacking.values()))
    return {name: str(value) for name, value in vars(found).items()}


def binaries(programs: dict[str, str]) -> Binaries:
    return Binaries(**{**programs, **{name: Path(programs[name]) for name in PROGRAMS}})  # type: ignore[arg-type]


class Watch:
    """A watch over one connection, HTTP/1.1, as the plainest of clients makes it."""

    def __init__(self, ca_pem: str, token: str, host: str, port: int) -> None:
        self.raw = socket.create_connection((host, port), timeout=WAIT_SECONDS)
        self.port = self.raw.getsockname()[1]
        self._stream = ssl.create_default_context(cadata=ca_pem).wrap_socket(
            self.raw, server_hostname=host, suppress_ragged_eofs=False
        )
        query = "watch=true&fieldSelector=metadata.name%3Dtrigger"
        self._stream.sendall(
            f"GET /api/v1/namespaces/cell-1/configmaps?{query} HTTP/1.1\r\n"
            f"Host: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        self.seen = b""
        assert self.until('"ADDED"') is None, self.seen

    def until(self, wanted: str | None, seconds: float = WAIT_SECONDS) -> str | None:
        """None when this text has come; else ``silence``, ``end``, or the name of the error that came before it."""
        until = time.monotonic() + seconds
        while wanted is None or wanted.encode() not in self.seen:
            self._stream.settimeout(max(0.01, until - time.monotonic()))
            try:
                data = self._stream.recv(1 << 16)
            except TimeoutError:
                return "silence"
            except ssl.SSLEOFError:
                return "end"
            except OSError as error:
                return type(error).__name__
            if not data:
                return "end"
            self.seen += data
        return None

    def close(self) -> None:
        self._stream.close()


def reached(host: str, port: int, seconds: float = SILENT_SECONDS) -> str:
    """``works``, or how the kernel says that a new connection does not."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except TimeoutError:
        return "silence"
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "works"


def mutate() -> None:
    """Own servers announce themselves, and an address that is gone is answered for otherwise."""
    arguments, unplug = apiserver.arguments, network.unplug_server

    def announced(*given: Any, **named: Any) -> list[str]:
        return [flag for flag in arguments(*given, **named) if not flag.startswith("--endpoint-reconciler")]

    def otherwise(number: int, cluster: Namespace, answer: Any) -> None:
        unplug(number, cluster, "unreachable" if answer == "silence" else "silence")

    apiserver.arguments = announced
    network.unplug_server = otherwise


class Lab:
    """A control plane, a client's path with kube-proxy, and own servers."""

    def __init__(self, running: KubernetesControlPlane, cluster: Namespace, nets: network.CellNetwork) -> None:
        self.running = running
        self.cluster = cluster
        self.nets = nets
        self.token = ""
        access = running.access
        self.updater = Updater(ApiServer(API_ADDRESS, API_KEEPALIVE_PORT, access.ca_pem, access.token), lambda _: None)
        self.trigger = Trigger("cell-1")

    async def inside(self, action: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(self.nets.client.enter, action)

    async def watch(self, host: str, port: int) -> Watch:
        made = await self.inside(lambda: Watch(self.running.access.ca_pem, self.token, host, port))
        assert isinstance(made, Watch)
        return made

    async def http2_watch(self, host: str, port: int) -> Http2Watch:
        made = await self.inside(lambda: Http2Watch(self.running.access.ca_pem, self.token, host, port))
        assert isinstance(made, Http2Watch)
        return made

    async def touch(self) -> tuple[str, str]:
        """The nonce and the version of the trigger after it."""
        touched = await self.updater.touch(self.trigger, Touch.CONTROL)
        assert touched.error is None, touched.error
        return touched.nonce, str(touched.resource_version)

    async def endpoints(self) -> list[str]:
        """Of default/kubernetes, whose every address all kube-proxies lead to."""
        async with asyncio.timeout(WAIT_SECONDS):
            # The shared server makes them a moment after it is ready; nothing tells of it.
            while (found := await self._endpoints()).status == 404:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return [address for endpoint in found.body["endpoints"] for address in endpoint["addresses"]]

    async def _endpoints(self) -> Answer:
        return await self.running.api.request("GET", ENDPOINTS, self.running.access.token)

    async def resumed(self, host: str, port: int, version: str) -> list[Any]:
        access, at = self.running.access, (self.trigger.namespace, self.trigger.name)
        result = await self.inside(
            lambda: probe.resume(host, port, access.ca_pem, WAIT_SECONDS, self.token, at, version)
        )
        return [result.ok, result.error]


async def scene(programs: dict[str, str], folder: str, mutated: bool) -> dict[str, Any]:
    """Own servers, each harmed in its own way while a client watches at it."""
    numbers: tuple[int, ...] = ALL
    if mutated:
        mutate()
        numbers = (SILENT, UNREACHABLE)
    seen: dict[str, Any] = {}
    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(1.0))
    async with AsyncExitStack() as stack:
        start = KubernetesControlPlane.start(cluster, Path(folder), binaries=binaries(programs))
        running = await stack.enter_async_context(start)
        nets = network.CellNetwork.named(1, virtual=own_virtual(MOVED))
        Namespace.create([nets.client.name, nets.path.name])
        network.make_cell(nets, cluster, owns_virtual=False)
        nets.path.write_sysctls(sysctls.path(None))
        lab = Lab(running, cluster, nets)
        stack.callback(lab.updater.close)
        await lab.updater.create(lab.trigger)
        lab.token = await running.admit("cell-1")
        seen["endpoints before"] = await lab.endpoints()
        begin = time.monotonic()
        starting = [
            stack.enter_async_context(OwnApiServer.start(running, cluster, number, service=number == MOVED))
            for number in numbers
        ]
        owns = dict(zip(numbers, await asyncio.gather(*starting), strict=True))
        seen["seconds"] = time.monotonic() - begin
        seen["memory"] = [each.memory_mib() for each in owns.values()]
        seen["wrong"] = [sysctls.wrong(each.namespace, sysctls.endpoint(1.0)) for each in owns.values()]
        for each in owns.values():
            await asyncio.to_thread(each.honours, "cell-1")
        # Longer than the 10 s after which a server that announces itself says so again.
        await asyncio.sleep(12)
        until = time.monotonic() + 2 * WAIT_SECONDS
        while mutated and len(await lab.endpoints()) == 1 and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        seen["endpoints"] = await lab.endpoints()
        await harms(lab, owns, seen)
        if MOVED in owns:
            await moves(lab, owns[MOVED], programs, Path(folder), seen)
        seen["endpoints after"] = await lab.endpoints()
        ended = asyncio.create_task(running.ended())
        await asyncio.sleep(0.2)
        seen["control plane ended"] = ended.done()
        ended.cancel()
        begin = time.monotonic()
    seen["end seconds"] = time.monotonic() - begin
    left = await asyncio.to_thread(cluster.enter, lambda: [name for _, name in socket.if_nameindex()])
    seen["links left"] = [name for name in left if name.startswith("server-")]
    seen["namespaces left"] = await asyncio.to_thread(lambda: [each.name for each in NAMESPACES.glob("server-*")])
    return seen


async def harms(lab: Lab, owns: dict[int, OwnApiServer], seen: dict[str, Any]) -> None:
    numbers = [number for number in owns if number != MOVED]
    watches = {n: await lab.watch(owns[n].server.address, owns[n].server.port) for n in numbers}
    nonce, version = await lab.touch()
    seen["observed"] = [await asyncio.to_thread(watches[n].until, nonce) for n in numbers]
    client = lab.nets.client_address
    first = numbers[0]
    served = sockets.of_peer(owns[first].namespace, client)
    seen["served by own"] = [each.port for each in served] == [watches[first].port]
    spoken = {n: await lab.http2_watch(owns[n].server.address, owns[n].server.port) for n in SPOKEN if n in owns}
    harm: dict[int, Callable[[], None]] = {
        KILLED: lambda: owns[KILLED].signal(SIGKILL),
        STOPPED: lambda: owns[STOPPED].signal(SIGTERM),
        SILENT: lambda: owns[SILENT].vanish("silence"),
        UNREACHABLE: lambda: owns[UNREACHABLE].vanish("unreachable"),
        ANEW: lambda: anew(owns[ANEW]),
    }
    for number in numbers:
        act = harm[number]
        begin = time.monotonic()
        # All of a group's cells do it.
        await asyncio.gather(*(asyncio.to_thread(act) for _ in range(3)))
        acted = time.monotonic() - begin
        silent = number in (SILENT, UNREACHABLE)
        end = await asyncio.to_thread(watches[number].until, None, SILENT_SECONDS if silent else 75.0)
        seen[f"{number}"] = {"end": end, "took": acted, "told after": time.monotonic() - begin}
        if number in spoken:
            frames = await asyncio.to_thread(spoken[number].rest, 75.0)
            seen[f"{number}"]["goaway"] = [frame.kind for frame in frames].count(GOAWAY)
            seen[f"{number}"]["stream ended"] = [
                frame.kind
                for frame in frames
                if frame.stream == STREAM and frame.kind == DATA and frame.flags & END_STREAM
            ]
    if STOPPED in owns:
        await asyncio.to_thread(owns[STOPPED].ended, 75.0)
    for number in numbers:
        seen[f"{number}"]["fresh"] = await lab.inside(lambda n=number: reached(*address(n)))  # type: ignore[misc]
    await lab.touch()
    seen["resumed at shared"] = await lab.resumed(API_ADDRESS, API_KEEPALIVE_PORT, version)
    if ANEW in owns:
        seen["resumed anew"] = await lab.resumed(own_link(ANEW).far, own.ANEW_PORT, version)


def anew(server: OwnApiServer) -> None:
    assert server.start_anew().port == own.ANEW_PORT
    server.signal(SIGTERM)


def address(number: int) -> tuple[str, int]:
    return own_link(number).far, API_KEEPALIVE_PORT


async def moves(lab: Lab, moved: OwnApiServer, programs: dict[str, str], folder: Path, seen: dict[str, Any]) -> None:
    """Through a real kube-proxy, by the ClusterIP of the server's own Service."""
    nets = lab.nets
    token = await lab.running.admit_node(nets.path.name, nets.node_address)
    access = kube_proxy.access(lab.running.access.ca_pem, token)
    mode = Balancer.KUBE_PROXY_NFTABLES
    proxy = await KubeProxy.start(Path(programs["kube_proxy"]), mode, nets, access, folder=folder)
    try:
        await proxy.ready()
        watch = await lab.watch(nets.virtual, VIRTUAL_PORT)
        seen["leads to own"] = leads(lab, watch.port)
        await asyncio.to_thread(moved.move_endpoint)
        fresh, until = await lab.watch(nets.virtual, VIRTUAL_PORT), time.monotonic() + WAIT_SECONDS
        # It has had the time that a cell gives it; on a busy machine that can be too short, and no cell believes it.
        while leads(lab, fresh.port) == seen["leads to own"] and time.monotonic() < until:
            fresh.close()
            fresh = await lab.watch(nets.virtual, VIRTUAL_PORT)
        seen["leads after"] = [leads(lab, watch.port), leads(lab, fresh.port)]
        nonce, _ = await lab.touch()
        seen["both observed"] = [await asyncio.to_thread(each.until, nonce) for each in (watch, fresh)]
        await asyncio.to_thread(moved.vanish, "silence")
        nonce, _ = await lab.touch()
        seen["observed once gone"] = [
            await asyncio.to_thread(each.until, nonce, seconds)
            for each, seconds in ((watch, SILENT_SECONDS), (fresh, WAIT_SECONDS))
        ]
        seen["known once gone"] = leads(lab, watch.port)
    finally:
        await proxy.stop()


def leads(lab: Lab, port: int) -> list[str | None]:
    """State, and where the path's kernel sends the flow."""
    nets = lab.nets
    flows = conntrack.flows(nets.path, nets.client_address, nets.fronts)
    return next(([flow.state, flow.server] for flow in flows if flow.port == port), [None, None])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def seen(programs: dict[str, str], folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = run_inside(scene, programs, str(folder), False, timeout=280)
    return found


@pytest.fixture(scope="module")
def broken(programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = run_inside(scene, programs, str(tmp_path_factory.mktemp("broken")), True, timeout=280)
    return found


def test_it_starts_beside_the_control_plane_with_the_labs_sysctls(seen: dict[str, Any], folder: Path) -> None:
    """Otherwise the machine's own TCP settings decide the cells of a scenario with a server of its own."""
    assert seen["wrong"] == [{}] * 6
    assert all(memory > 50 for memory in seen["memory"])
    for number in range(1, 7):
        assert (folder / LOGS / f"kube-apiserver-own-{number}.log").stat().st_size
        assert (folder / LOGS / f"audit-own-{number}.log").stat().st_size


def test_nobody_elses_endpoints_lead_to_it(seen: dict[str, Any]) -> None:
    """Otherwise the kube-proxies of all cells lead their clients to a server that is about to be harmed."""
    assert seen["endpoints before"] == seen["endpoints"] == seen["endpoints after"] == [API_ADDRESS]


def test_its_clients_see_touches_made_at_the_shared_server(seen: dict[str, Any]) -> None:
    """Otherwise the control touch never reaches a cell with a server of its own."""
    assert seen["observed"] == [None] * 5


def test_its_namespace_knows_the_clients_connection(seen: dict[str, Any]) -> None:
    """Otherwise a cell's evidence shows the sockets of a server that the client is not connected to."""
    assert seen["served by own"]


def test_a_killed_servers_kernel_tells_the_client(seen: dict[str, Any]) -> None:
    """Otherwise `server-killed` is another silence."""
    assert seen[f"{KILLED}"]["end"] in ("end", "ConnectionResetError")
    assert seen[f"{KILLED}"]["fresh"] == "ECONNREFUSED"


def test_a_server_that_is_asked_to_end_ends_its_watches(seen: dict[str, Any]) -> None:
    """Otherwise `server-stopped` comes to the client up to 60 s late, after the touch."""
    assert seen[f"{STOPPED}"]["end"] == "end"
    assert seen[f"{STOPPED}"]["told after"] < 30
    assert seen[f"{STOPPED}"]["fresh"] == "ECONNREFUSED"


def test_a_server_that_is_asked_to_end_says_goaway(seen: dict[str, Any]) -> None:
    """A rolling restart is told to clients of HTTP/2 in so many words, and what they make of it is what is tested.

    The mutant: a server that is killed says nothing, to the very same client.
    """
    assert seen[f"{STOPPED}"]["goaway"] >= 1
    assert seen[f"{STOPPED}"]["stream ended"] == [DATA]
    assert seen[f"{KILLED}"]["goaway"] == 0
    assert seen[f"{KILLED}"]["stream ended"] == []


def test_a_server_that_has_vanished_is_silent(seen: dict[str, Any]) -> None:
    """Otherwise a client is told what nobody tells when a node loses power."""
    assert seen[f"{SILENT}"]["end"] == "silence"
    assert seen[f"{SILENT}"]["fresh"] == "silence"


def test_an_address_that_was_given_up_is_unreachable(seen: dict[str, Any]) -> None:
    """Otherwise `endpoint-moved` is `node-gone` once more."""
    assert seen[f"{UNREACHABLE}"]["end"] == "silence"
    assert seen[f"{UNREACHABLE}"]["fresh"] == "EHOSTUNREACH"


def test_a_server_that_starts_anew_has_lost_the_history(seen: dict[str, Any]) -> None:
    """Otherwise `history-lost` is no more than a broken connection, and 410 is never met. kube-apiserver tells of it
    by an ERROR event."""
    assert seen[f"{ANEW}"]["end"] == "end"
    assert seen[f"{ANEW}"]["fresh"] == "ECONNREFUSED"
    assert seen["resumed at shared"] == [True, None]
    assert seen["resumed anew"] == [False, "410 as ERROR event"]


def test_an_endpoint_moves_and_established_flows_stay(seen: dict[str, Any]) -> None:
    """Otherwise the stale conntrack entry of the bug report is never there."""
    own_server = f"{own_link(MOVED).far}:{API_KEEPALIVE_PORT}"
    assert seen["leads to own"] == ["ESTABLISHED", own_server]
    assert seen["leads after"] == [["ESTABLISHED", own_server], ["ESTABLISHED", f"{API_ADDRESS}:{API_KEEPALIVE_PORT}"]]
    assert seen["both observed"] == [None, None]


def test_a_deleted_pods_flow_stays_known_and_leads_to_nobody(seen: dict[str, Any]) -> None:
    """Otherwise the lab shows another bug than the reported one."""
    assert seen["observed once gone"] == ["silence", None]
    assert seen["known once gone"] == ["ESTABLISHED", f"{own_link(MOVED).far}:{API_KEEPALIVE_PORT}"]


def test_its_end_is_nobody_elses(seen: dict[str, Any]) -> None:
    """Otherwise a fault ends the run, or the next wave's server finds an old one's link."""
    assert not seen["control plane ended"]
    assert seen["links left"] == []
    assert seen["namespaces left"] == []


def test_the_tests_above_can_fail(broken: dict[str, Any]) -> None:
    """Servers that announce themselves, routers that answer otherwise, a server that has the history."""
    assert len(broken["endpoints"]) > 1
    assert broken[f"{SILENT}"]["fresh"] == "EHOSTUNREACH"
    assert broken[f"{UNREACHABLE}"]["fresh"] == "silence"
    assert broken["resumed at shared"] == [True, None]
