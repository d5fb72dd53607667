"""The real control plane in the lab: what a cell meets there, and what is said when a part of it fails."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.sandboxed import run_inside
from watcher.errors import ControlPlaneFailure, LabUnavailable
from watcher.lab import network, sockets, sysctls
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, API_PORT
from watcher.lab.control_plane import admission, apiserver, haproxy, kubernetes
from watcher.lab.control_plane.api_client import ApiClient
from watcher.lab.control_plane.binaries import Binaries, find
from watcher.lab.control_plane.certificates import Authority
from watcher.lab.control_plane.kubernetes import LOGS, KubernetesControlPlane, Place
from watcher.lab.control_plane.running import Access
from watcher.lab.namespace import Namespace
from watcher.model import Touch
from watcher.programs.environments import cache_folder
from watcher.updater import ApiServer, Trigger, Updater

pytestmark = pytest.mark.lab

LONGEST_CELL_SECONDS = 7_200
SELECT = "fieldSelector=metadata.name%3Dtrigger"
WAIT_SECONDS = 30.0
"""For what takes milliseconds where the machine is not busy."""


@pytest.fixture(scope="module")
def programs() -> list[str]:
    """etcd and kube-apiserver, as arguments that can go into the sandbox."""
    try:
        found = find("kubernetes", cache_folder())
        haproxy.binary()
    except LabUnavailable as missing:
        pytest.skip(str(missing))
    assert found is not None
    return [str(found.etcd), str(found.kube_apiserver), found.version]


def binaries(programs: list[str]) -> Binaries:
    etcd, server, version = programs
    return Binaries(Path(server).parent, Path(server), Path(etcd), None, version, "", "test")


def make_cluster() -> Namespace:
    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(1.0))
    return cluster


class Watch:
    """A watch of one trigger over one connection, HTTP/1.1, as the plainest of clients makes it."""

    def __init__(self, access: Access, token: str, namespace: str, *, host: str, port: int) -> None:
        raw = socket.create_connection((host, port), timeout=WAIT_SECONDS)
        context = ssl.create_default_context(cadata=access.ca_pem)
        self._stream = context.wrap_socket(raw, server_hostname=host)
        self.port = self._stream.getsockname()[1]
        self._stream.sendall(
            f"GET /api/v1/namespaces/{namespace}/configmaps?watch=true&{SELECT} HTTP/1.1\r\n"
            f"Host: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        self.seen = b""

    def until(self, wanted: str) -> bool:
        """Whether this text comes in time."""
        while wanted.encode() not in self.seen:
            try:
                data = self._stream.recv(1 << 16)
            except OSError:
                return False
            if not data:
                return False
            self.seen += data
        return True

    def close(self) -> None:
        self._stream.close()


def mutate() -> None:
    """Breaks what the tests below look at: the proxy probes, rights name nothing, the audit log leaves touches out."""
    configuration, rights = haproxy.configuration, admission.rights

    def with_keepalive(*arguments: Any, **named: Any) -> str:
        return configuration(*arguments, **named).replace("no option clitcpka", "option clitcpka")

    def for_all(namespace: str) -> list[tuple[str, dict[str, Any]]]:
        (path, role), *others = rights(namespace)
        for rule in role["rules"]:
            del rule["resourceNames"]
            rule["verbs"] = ["*"]
        return [(path, role), *others]

    haproxy.configuration = with_keepalive
    admission.rights = for_all
    apiserver.AUDIT_POLICY["rules"] = [{"level": "None"}]


def others_left() -> list[str]:
    """Programs of the sandbox besides this one and its own."""
    left = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # one that ends just now is not left
            if int(entry.name) != os.getpid():
                left.append((entry / "comm").read_text().strip())
    return left


async def until(holds: Callable[[], bool]) -> None:
    """Returns when it holds, or when time is over: what was waited for is asserted by the tests."""
    end = time.monotonic() + WAIT_SECONDS
    while not holds() and time.monotonic() < end:  # noqa: ASYNC110 - the kernel's state, or a file: nothing tells of it
        await asyncio.sleep(0.1)


async def cell_scene(programs: list[str], folder: str, mutated: bool) -> dict[str, Any]:
    """Two cells' namespaces; the first one's token tries what it may and may not, watches, and is touched."""
    if mutated:
        mutate()
    seen: dict[str, Any] = {}
    cluster = make_cluster()
    began = time.monotonic()
    async with KubernetesControlPlane.start(cluster, Path(folder), binaries=binaries(programs)) as running:
        seen["seconds"] = time.monotonic() - began
        seen["version"] = running.version
        access = running.access
        server = ApiServer(access.host, access.port, access.ca_pem, access.token)
        updater = Updater(server, lambda _: None)
        mine, foreign = Trigger("cell-1"), Trigger("cell-2")
        await asyncio.gather(updater.create(mine), updater.create(foreign), updater.create(Trigger("cell-1", "other")))
        token, again, _ = await asyncio.gather(*(running.admit(name) for name in ("cell-1", "cell-1", "cell-2")))
        seen["again"] = bool(again)
        seen["lives"] = claims(token)["exp"] - time.time()
        seen["answers"] = await attempts(access, token)
        seen["stranger"] = await attempts(access, "no-such-token")
        seen["foreign authority"] = await asyncio.to_thread(handshake, Authority.make().ca_pem)
        watches = {
            port: await asyncio.to_thread(Watch, access, token, "cell-1", host=API_ADDRESS, port=port)
            for port in (API_PORT, API_KEEPALIVE_PORT)
        }
        for watch in watches.values():
            assert await asyncio.to_thread(watch.until, "initial-")
        touched = await updater.touch(mine, Touch.CONTROL)
        seen["touch"] = touched.error
        seen["nonce"] = touched.nonce
        for port, watch in watches.items():
            seen[f"observed on {port}"] = await asyncio.to_thread(watch.until, touched.nonce)
        await asyncio.sleep(0.5)  # until nothing is unacknowledged, and the sockets' timers are those of silence

        def look() -> bool:
            for component in running.components:
                seen[component.name] = [each.model_dump() for each in sockets.of_process(component.pid)]
            seen["age"] = time.monotonic() - began
            watched = on_port(seen, "haproxy", API_PORT) + on_port(seen, "kube-apiserver-1", API_KEEPALIVE_PORT)
            return all(each["timer"] in (None, "keepalive") for each in watched)

        await until(look)
        seen["memory"] = running.memory_mib()
        for watch in watches.values():
            watch.close()
        seen["client port"] = watches[API_PORT].port
        proxys = Path(folder) / LOGS / "haproxy.log"
        await until(lambda: f":{seen['client port']} " in proxys.read_text())
        updater.close()
    seen["left"] = others_left()
    return seen


def claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def handshake(ca_pem: str) -> str:
    try:
        context = ssl.create_default_context(cadata=ca_pem)
        with socket.create_connection((API_ADDRESS, API_PORT), timeout=WAIT_SECONDS) as raw:
            context.wrap_socket(raw, server_hostname=API_ADDRESS).close()
    except ssl.SSLCertVerificationError:
        return "refused"
    return "accepted"


async def attempts(access: Access, token: str) -> dict[str, int]:
    """The status of each request, by what it tries."""
    api = ApiClient(access.host, access.port, access.ca_pem)
    maps, foreign = "/api/v1/namespaces/cell-1/configmaps", "/api/v1/namespaces/cell-2/configmaps"
    tried: dict[str, tuple[str, str, dict[str, Any] | None]] = {
        "get the trigger": ("GET", f"{maps}/trigger", None),
        "list the trigger": ("GET", f"{maps}?{SELECT}", None),
        "list all": ("GET", maps, None),
        "get another": ("GET", f"{maps}/other", None),
        "get a foreign trigger": ("GET", f"{foreign}/trigger", None),
        "list a foreign trigger": ("GET", f"{foreign}?{SELECT}", None),
        "list everywhere": ("GET", f"/api/v1/configmaps?{SELECT}", None),
        "create": ("POST", maps, {"metadata": {"name": "mine"}}),
        "delete the trigger": ("DELETE", f"{maps}/trigger?dryRun=All", None),
        "read secrets": ("GET", "/api/v1/namespaces/cell-1/secrets", None),
        "list namespaces": ("GET", "/api/v1/namespaces", None),
    }
    try:
        return {what: (await api.request(m, path, token, body)).status for what, (m, path, body) in tried.items()}
    finally:
        api.close()


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubernetes")


@pytest.fixture(scope="module")
def cell(programs: list[str], run_folder: Path) -> dict[str, Any]:
    seen: dict[str, Any] = run_inside(cell_scene, programs, str(run_folder), False)
    return seen


def test_it_is_ready_and_says_which_release_it_is(cell: dict[str, Any], programs: list[str]) -> None:
    """Otherwise results name a version of Kubernetes that they are not about, or a lab never starts."""
    assert cell["version"] == f"v{programs[2]}"
    assert cell["seconds"] < kubernetes.READY_SECONDS  # 2 to 4 s; that a bench measures, a busy machine cannot


def test_nothing_is_left_running_after_it(cell: dict[str, Any]) -> None:
    """Otherwise a lab that is started again in the same sandbox meets the ports of the one before."""
    assert cell["left"] == []


def test_a_cell_may_read_its_trigger_and_nothing_else(cell: dict[str, Any]) -> None:
    """Otherwise a client with an error can spoil the cell of another, and a matrix shows rights no user would give."""
    allowed = {what for what, status in cell["answers"].items() if status == 200}
    assert allowed == {"get the trigger", "list the trigger"}
    assert {status for what, status in cell["answers"].items() if what not in allowed} == {403}
    assert set(cell["stranger"].values()) == {401}


def test_a_token_outlives_every_cell(cell: dict[str, Any]) -> None:
    """Otherwise the server ends a watch for a reason that has nothing to do with the network."""
    assert cell["lives"] > LONGEST_CELL_SECONDS


def test_a_cell_that_is_run_again_is_admitted_again(cell: dict[str, Any]) -> None:
    """Otherwise a repeat, or a request that had to be sent twice, breaks its cell."""
    assert cell["again"]


def test_its_certificate_is_the_labs_own(cell: dict[str, Any]) -> None:
    """Otherwise clients could only connect with verification off, which is not what users run."""
    assert cell["foreign authority"] == "refused"


def test_a_touch_reaches_watches_on_both_ports(cell: dict[str, Any]) -> None:
    """Otherwise every client fails and the matrix says nothing about any of them."""
    assert cell["touch"] is None
    assert cell[f"observed on {API_PORT}"]
    assert cell[f"observed on {API_KEEPALIVE_PORT}"]


def on_port(cell: dict[str, Any], component: str, port: int) -> list[dict[str, Any]]:
    return [each for each in cell[component] if each["port"] == port and each["state"] == "ESTABLISHED"]


def test_before_the_proxy_no_socket_probes_the_client(cell: dict[str, Any]) -> None:
    """Otherwise the server keeps a path alive that in the cloud is not, and a client is `ok` that is stuck there."""
    found = on_port(cell, "haproxy", API_PORT)
    assert found
    assert {each["keepalive"] for each in found} == {False}
    assert {each["timer"] for each in found} == {None}


def test_the_api_server_itself_probes_after_180_seconds(cell: dict[str, Any]) -> None:
    """Otherwise the scenarios that show what a server's keepalive is worth show something else."""
    found = on_port(cell, "kube-apiserver-1", API_KEEPALIVE_PORT)
    assert found
    assert {each["keepalive_idle_seconds"] for each in found} == {180}
    assert {each["timer"] for each in found} == {"keepalive"}
    # The kernel starts the timer with the connection, and none is older than the server.
    assert all(180 - cell["age"] - 1 < each["timer_seconds"] <= 180 for each in found)
    assert cell["age"] < 120, "so old that another timer than that of 180 s could pass for it"


def test_the_audit_log_has_the_touch_and_the_watch(cell: dict[str, Any], run_folder: Path) -> None:
    """Otherwise nobody can check afterwards that the server did its part, and when."""
    events = [json.loads(line) for line in (run_folder / LOGS / "audit-1.log").read_text().splitlines()]
    touch = [event for event in events if event["verb"] == "patch"]
    assert [event["requestObject"]["data"]["nonce"] for event in touch] == [cell["nonce"]]
    watchers = {event["user"]["username"] for event in events if event["verb"] == "watch"}
    assert watchers == {"system:serviceaccount:cell-1:watcher"}
    tokens = [event for event in events if event.get("objectRef", {}).get("subresource") == "token"]
    assert tokens
    assert not [event for event in tokens if "responseObject" in event]


def test_the_proxys_log_names_the_client_of_a_connection(cell: dict[str, Any], run_folder: Path) -> None:
    """Otherwise a cell's packets cannot be followed to the API server, which knows the proxy's address only."""
    log = (run_folder / LOGS / "haproxy.log").read_text()
    assert f"client=10.120.0.2:{cell['client port']} " in log


def test_no_secret_is_left_in_the_runs_folder(cell: dict[str, Any], run_folder: Path) -> None:
    """Otherwise a published run carries keys, of a lab that is gone but that looks like a leak to every scanner."""
    assert cell
    texts = [file.read_text(errors="replace") for file in (run_folder / LOGS).iterdir()]
    assert len(texts) >= 5
    assert not [text for text in texts if "PRIVATE KEY" in text or "eyJ" in text]


def test_the_tests_above_can_fail(programs: list[str], tmp_path: Path) -> None:
    """The same scene, with the proxy's keepalive on, rights for all and no audit: every reading must show it."""
    broken = run_inside(cell_scene, programs, str(tmp_path), True)
    assert {each["keepalive"] for each in on_port(broken, "haproxy", API_PORT)} == {True}
    assert {each["timer"] for each in on_port(broken, "haproxy", API_PORT)} == {"keepalive"}
    assert broken["answers"]["list all"] == broken["answers"]["get another"] == 200
    assert broken["answers"]["create"] == 201
    assert broken["nonce"] not in (tmp_path / LOGS / "audit-1.log").read_text()


async def early_end_scene(programs: list[str], folder: str, victim: str) -> dict[str, Any]:
    cluster = make_cluster()
    try:
        async with KubernetesControlPlane.start(cluster, Path(folder), binaries=binaries(programs)) as running:
            ended = asyncio.create_task(running.ended())
            await asyncio.sleep(0.1)
            assert not ended.done()
            next(each for each in running.components if each.name == victim)._process.kill()
            async with asyncio.timeout(WAIT_SECONDS):
                await ended
    except ControlPlaneFailure as failure:
        return {"message": failure.message, "log": failure.log, "left": others_left()}
    return {}


@pytest.mark.parametrize("victim", ["etcd", "kube-apiserver-1", "haproxy"])
def test_a_component_that_ends_early_is_named(programs: list[str], tmp_path: Path, victim: str) -> None:
    """Otherwise a run goes on without its server, and every client is blamed for it."""
    seen = run_inside(early_end_scene, programs, str(tmp_path), victim)
    assert seen["message"].startswith(f"{victim} ended (status -9)")
    assert seen["log"] == str(tmp_path / LOGS / f"{victim}.log")
    assert seen["left"] == []


async def failed_start_scene(programs: list[str], folder: str, trouble: str) -> dict[str, Any]:
    cluster = make_cluster()
    usable = binaries(programs)
    taken = []
    if trouble in ("port", "keepalive port"):
        port = API_PORT if trouble == "port" else API_KEEPALIVE_PORT
        taken.append(cluster.enter(lambda: socket.create_server((API_ADDRESS, port))))
    if trouble == "flag":
        usable = replace(usable, kube_apiserver=wrapped(folder, f'exec {usable.kube_apiserver} "$@" --no-such-flag'))
    if trouble == "never ready":
        # Its RBAC waits for an API that is switched off, for ever.
        line = f'exec {usable.kube_apiserver} "$@" --runtime-config=rbac.authorization.k8s.io/v1=false'
        usable = replace(usable, kube_apiserver=wrapped(folder, line))
        # It must have come so far that it says what it waits for; 3 s where the machine is not busy.
        kubernetes.READY_SECONDS = 30.0
    if trouble == "etcd":
        usable = replace(usable, etcd=wrapped(folder, "echo no space left on this device >&2; exit 7"))
    if trouble == "missing":
        usable = replace(usable, etcd=Path(folder) / "not-there")
    if trouble == "haproxy":
        os.environ["PATH"] = "/nowhere"
    try:
        async with KubernetesControlPlane.start(cluster, Path(folder), binaries=usable):
            return {}
    except (ControlPlaneFailure, LabUnavailable) as failure:
        return {"text": str(failure), "log": getattr(failure, "log", None), "left": others_left()}
    finally:
        for listener in taken:
            listener.close()


def wrapped(folder: str, line: str) -> Path:
    script = Path(folder) / "wrapped"
    script.write_text(f"#!/bin/sh\n{line}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


@pytest.mark.parametrize(
    ("trouble", "says", "log"),
    [
        ("port", f"{API_ADDRESS}:{API_PORT}", "haproxy.log"),
        ("keepalive port", "address already in use", "kube-apiserver-1.log"),
        ("flag", "unknown flag: --no-such-flag", "kube-apiserver-1.log"),
        ("never ready", "not ready after 30 s: /readyz: 500 [-]", ""),
        ("etcd", "no space left on this device", "etcd.log"),
        ("missing", "not-there", "etcd.log"),
        ("haproxy", "apt-get install haproxy", None),
    ],
)
def test_a_start_that_fails_says_why(
    programs: list[str], tmp_path: Path, trouble: str, says: str, log: str | None
) -> None:
    """Otherwise a user waits for a lab that never comes, and does not know where to look."""
    seen = run_inside(failed_start_scene, programs, str(tmp_path), trouble)
    assert says in seen["text"]
    assert seen["log"] == (None if log is None else str(tmp_path / LOGS / log))
    assert seen["left"] == []


def add_place(number: int, cluster: str) -> Place:
    """A namespace beside the cluster's, with an address of its own that cluster and harness have a route to."""
    name, address = f"api-{number}", f"10.112.1.{number}"
    Namespace.create([name])
    lines = [
        f"link add {name} netns {cluster} type veth peer name cluster netns {name}",
        f"-n {cluster} addr add {API_ADDRESS} peer {address} dev {name}",
        f"-n {cluster} link set {name} up",
        f"-n {name} link set lo up",
        f"-n {name} addr add {address}/32 dev cluster",
        f"-n {name} link set cluster up",
        f"-n {name} route add {API_ADDRESS} dev cluster src {address}",
        f"-n {name} route add default via {API_ADDRESS} src {address}",
        f"route add {address} via 10.120.0.1",
    ]
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True)
    return Place(Namespace(name), address)


async def two_servers_scene(programs: list[str], folder: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    cluster = make_cluster()
    cluster.write_sysctls({"net.ipv4.ip_forward": 1})
    places = [add_place(number, cluster.name) for number in (1, 2)]
    began = time.monotonic()
    start = KubernetesControlPlane.start(cluster, Path(folder), binaries=binaries(programs), places=places)
    async with start as running:
        seen["seconds"] = time.monotonic() - began
        seen["memory"] = running.memory_mib()
        access = running.access
        first = Updater(ApiServer(places[0].address, API_KEEPALIVE_PORT, access.ca_pem, access.token), lambda _: None)
        trigger = Trigger("cell-1")
        await first.create(trigger)
        token = await running.admit("cell-1")
        second = await asyncio.to_thread(
            Watch, access, token, "cell-1", host=places[1].address, port=API_KEEPALIVE_PORT
        )
        assert await asyncio.to_thread(second.until, "initial-")
        touched = await first.touch(trigger, Touch.CONTROL)
        seen["observed at the other"] = await asyncio.to_thread(second.until, touched.nonce)
        second.close()
        first.close()
        seen["both"] = [await asyncio.to_thread(handshake, access.ca_pem) for _ in range(4)]
        killed = next(each for each in running.components if each.name == "kube-apiserver-2")
        killed._process.kill()
        await killed._process.wait()
        seen["one"] = [await asyncio.to_thread(handshake, access.ca_pem) for _ in range(4)]
    seen["left"] = others_left()
    return seen


def test_two_api_servers_share_one_etcd(programs: list[str], tmp_path: Path) -> None:
    """Otherwise no scenario can take one API server away and leave the control plane standing."""
    seen = run_inside(two_servers_scene, programs, str(tmp_path))
    assert seen["observed at the other"]
    assert seen["both"] == seen["one"] == ["accepted"] * 4
    used = {word for word in (tmp_path / LOGS / "haproxy.log").read_text().split() if word.startswith("server=")}
    assert used == {"server=api-1", "server=api-2"}
    assert (tmp_path / LOGS / "audit-2.log").exists()
    assert seen["left"] == []
