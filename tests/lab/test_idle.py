"""``watcher path`` and the measuring of keepalive, with real packets through paths that do what clouds do."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.sandboxed import run_inside
from watcher import plan
from watcher.catalog import Catalog
from watcher.errors import LabUnavailable
from watcher.idle import quiet
from watcher.idle.connection import IdleConnection
from watcher.kernel import duplicates
from watcher.lab import network, path, sysctls
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, API_PORT, VIRTUAL_ADDRESS, VIRTUAL_PORT
from watcher.lab.control_plane import haproxy
from watcher.lab.control_plane.binaries import Binaries, find
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.control_plane.launch import EmbeddedControlPlane
from watcher.lab.control_plane.running import Access, ControlPlane
from watcher.lab.namespace import Namespace
from watcher.model import CellPlan, Ending, Touch
from watcher.programs.environments import cache_folder
from watcher.totals import Tried
from watcher.updater import ApiServer, Trigger, Updater

pytestmark = pytest.mark.lab

IDLE = 6.0
"""240 s at a scale of 40."""
AGES = "2,4,8,10"
SCALE = 45
"""Of the embedded control plane: its own keepalive comes after 4 s."""
SPACE = "soak"

SWITCHED_OFF = "switched off"
DEAF_TO_RESETS = "deaf to resets"
ON_A_PATH = ("azure-slb", "aws-nlb", "azure-slb-silent", "control")
EMBEDDED_ONLY = ("azure-slb-server-180s", SWITCHED_OFF, DEAF_TO_RESETS)

IGNORE_RESETS = """
from watcher.idle import connection
kernel = connection._kernel
def deaf(stream):
    info, ended = kernel(stream)
    return info, None if ended is connection.Tried.RESET else ended
connection._kernel = deaf
"""
"""A mutant of ``watcher path``: it never learns of a RST."""


def cell(name: str) -> CellPlan:
    """A path's plan with an idle timeout of ``IDLE`` seconds, or its mutant."""
    scenario = name if name in (*ON_A_PATH, *EMBEDDED_ONLY[:1]) else "azure-slb"
    catalog = Catalog.load()
    stack, profile = catalog.stacks["python-urllib3"].stack, catalog.profiles["default"]
    made = plan.make(plan.Choice([stack], [profile], [catalog.scenarios[scenario]], catalog.paths, {}))[-1]
    idle = IDLE if made.timing.idle_timeout_seconds else None
    ending = made.ending
    if name == SWITCHED_OFF:
        idle, ending = None, Ending.NEVER
    timing = made.timing.model_copy(update={"idle_timeout_seconds": idle})
    return made.model_copy(update={"timing": timing, "ending": ending})


def starting(cluster: Namespace, programs: list[str] | None) -> AbstractAsyncContextManager[ControlPlane]:
    folder = Path(tempfile.mkdtemp())
    if programs is None:
        return EmbeddedControlPlane.start(cluster, folder, scale=SCALE, unserved=lambda _: None)
    etcd, server, version = programs
    binaries = Binaries(Path(server).parent, Path(server), Path(etcd), None, version, "", "test")
    return KubernetesControlPlane.start(cluster, folder, binaries=binaries)


def kubeconfig(access: Access) -> Path:
    folder = Path(tempfile.mkdtemp())
    (folder / "ca.pem").write_text(access.ca_pem)
    cluster = {"server": f"https://{VIRTUAL_ADDRESS}:{VIRTUAL_PORT}", "certificate-authority": str(folder / "ca.pem")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": SPACE}}],
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "lab", "user": {"token": access.token}}],
    }
    (folder / "config").write_text(json.dumps(content))
    return folder / "config"


async def measure(number: int, name: str, cluster: Namespace, access: Access) -> dict[str, Any]:
    """Runs the command in the client's namespace of a path of its own."""
    made = cell(name)
    nets = network.CellNetwork.named(number)
    await asyncio.to_thread(network.make_cell, nets, cluster)
    await asyncio.to_thread(path.prepare, made, nets)
    lab_path = path.LabPath(made, nets, Path(tempfile.mkdtemp()), lambda _: None)
    program = (IGNORE_RESETS if name == DEAF_TO_RESETS else "") + "from watcher.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net={nets.client.path}", "--", sys.executable, "-c", program,
        "path", "--kubeconfig", str(kubeconfig(access)), "--context", "lab", "--ages", AGES,
        "--try-seconds", "5", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    lab_path.close()
    shown: dict[str, Any] = json.loads(out) if out else {}
    return {**shown, "status": process.returncode, "log": err.decode()}


async def scene(names: list[str], programs: list[str] | None) -> dict[str, Any]:
    """All paths at once, before one control plane."""
    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(1.0))
    numbered = dict(enumerate(names, 1))
    spaces = [network.CellNetwork.named(number) for number in numbered]
    Namespace.create([space.name for each in spaces for space in (each.client, each.path)])
    async with starting(cluster, programs) as running:
        access = running.access
        updater = Updater(ApiServer(access.host, access.port, access.ca_pem, access.token), lambda _: None)
        await updater.create(Trigger(SPACE))
        updater.close()
        found = await asyncio.gather(*(measure(number, name, cluster, access) for number, name in numbered.items()))
    return dict(zip(names, found, strict=True))


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


Measured = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def played(programs: list[str]) -> Iterator[Callable[[str, str], dict[str, Any]]]:
    """Both control planes at once, since everything here mostly waits."""
    with ThreadPoolExecutor(2) as pool:
        futures = {
            "embedded": pool.submit(run_inside, scene, [*ON_A_PATH, *EMBEDDED_ONLY], None),
            "kubernetes": pool.submit(run_inside, scene, list(ON_A_PATH), programs),
        }
        yield lambda plane, name: dict(futures[plane].result()[name])


Played = Callable[[str, str], dict[str, Any]]


@pytest.fixture(params=["embedded", "kubernetes"])
def measured(request: pytest.FixtureRequest, played: Played) -> Measured:
    """What the command says of each path that both control planes can stand behind."""
    return lambda name: played(request.param, name)


@pytest.fixture
def embedded(played: Played) -> Measured:
    """What only a control plane with scaled timers can show, and the mutants."""
    return lambda name: played("embedded", name)


def finding(shown: dict[str, Any]) -> dict[str, Any]:
    assert shown["status"] == 0, shown["log"]
    found: dict[str, Any] = shown["finding"]
    return found


def paths(shown: dict[str, Any]) -> list[str]:
    return [near["path"] for near in shown["nearest"]]


def test_resets_by_themselves_tell_the_timeout_exactly(measured: Measured) -> None:
    """Else the owner of a cluster behind such a load balancer is told of another timeout, or of silence."""
    shown = measured("azure-slb")
    found = finding(shown)
    assert (found["result"], found["ending"], found["exact"]) == ("timeout", "reset", True)
    assert found["alive_seconds"] >= 4
    assert IDLE - 0.5 < found["dead_seconds"] < 8
    assert len(shown["rounds_seconds"]) == 1, "what is exact need not be refined"
    assert paths(shown) == ["azure-slb", "azure-slb-observed"]


def test_a_reset_on_the_next_packet_is_told_from_one_by_itself(measured: Measured) -> None:
    """Else a client is thought to learn of the end, where it learns nothing until it sends."""
    shown = measured("aws-nlb")
    found = finding(shown)
    assert (found["result"], found["ending"], found["exact"]) == ("timeout", "reset-on-next-packet", False)
    assert found["alive_seconds"] < found["dead_seconds"]
    assert found["alive_seconds"] < IDLE + 1.5
    assert found["dead_seconds"] > IDLE - 0.5
    assert paths(shown) == ["aws-nat-gateway", "aws-nlb"]


def test_silence_is_found_and_narrowed(measured: Measured) -> None:
    """Else the worst path of all, on which nobody is told, goes unnoticed or is known to within a minute only."""
    shown = measured("azure-slb-silent")
    found = finding(shown)
    assert (found["result"], found["ending"]) == ("timeout", "silent")
    assert len(shown["rounds_seconds"]) == 2
    assert found["dead_seconds"] - found["alive_seconds"] < 8 - 4, "the second round narrows the interval"
    assert found["dead_seconds"] > IDLE - 0.5
    assert "azure-slb-silent" in paths(shown)


def test_no_timeout_is_an_answer_too(measured: Measured) -> None:
    """Else a healthy path is reported as one that ends connections."""
    shown = measured("control")
    found = finding(shown)
    assert (found["result"], found["ending"]) == ("none", None)
    assert found["alive_seconds"] >= 10
    assert "direct" in paths(shown)


def test_the_servers_own_keepalive_is_seen(embedded: Measured) -> None:
    """Else "no timeout" is said of a path that has one, which shows when the server's keepalive goes."""
    shown = embedded("azure-slb-server-180s")
    found = finding(shown)
    assert found["result"] == "kept-alive"
    assert found["kept_alive_every_seconds"] == pytest.approx(180 / SCALE, abs=1.5)
    assert found["alive_seconds"] < IDLE


def test_mutant_fault_switched_off(embedded: Measured) -> None:
    """A timeout found on a path without one would mean that the tests above prove nothing."""
    found = finding(embedded(SWITCHED_OFF))
    assert (found["result"], found["ending"]) == ("none", None)


def test_mutant_resets_ignored(embedded: Measured) -> None:
    """A try that misses the RST must not pass for one that sees it."""
    found = embedded(DEAF_TO_RESETS)["finding"]
    assert (found["ending"], found["exact"]) != ("reset", True)


async def crlf_scene(programs: list[str] | None) -> list[dict[str, Any]]:
    """A watch of the trigger is tried, and then the trigger is touched."""
    seen = []
    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(1.0))
    async with starting(cluster, programs) as running:
        access = running.access
        updater = Updater(ApiServer(access.host, access.port, access.ca_pem, access.token), lambda _: None)
        trigger = Trigger(SPACE)
        await updater.create(trigger)
        for port in (API_PORT, API_KEEPALIVE_PORT):
            api = ApiServer(access.host, port, access.ca_pem, access.token)
            connection = IdleConnection(api, SPACE, trigger.name)
            await asyncio.to_thread(connection.open)
            outcome, _ = await asyncio.to_thread(connection.try_, 30.0)
            touched = await updater.touch(trigger, Touch.CONTROL)
            stream = connection._socket
            assert stream is not None
            stream.settimeout(30)
            data, more = b"", b"none yet"
            while more and touched.nonce.encode() not in data:
                more = bytes(await asyncio.to_thread(stream.recv, 1 << 14))
                data += more
            seen.append({"port": port, "outcome": outcome, "goes on": touched.nonce.encode() in data})
            connection.close()
        updater.close()
    return seen


@pytest.mark.parametrize("plane", ["embedded", "kubernetes"])
def test_a_try_does_not_end_the_watch(plane: str, request: pytest.FixtureRequest) -> None:
    """Else the server's own end of the watch would be taken for the path's."""
    programs = None if plane == "embedded" else request.getfixturevalue("programs")
    for each in run_inside(crlf_scene, programs):
        assert each["outcome"] == Tried.ALIVE
        assert each["goes on"]


CHILD = """
import json, socket, sys
from watcher.api import ApiServer
from watcher.idle.connection import IdleConnection
order = json.loads(sys.stdin.readline())
connection = IdleConnection(ApiServer(**order["api"]), order["namespace"])
connection.open()
if order["keepalive"]:
    stream = connection._socket
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 5)):
        stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
print("ready", flush=True)
sys.stdin.read()
"""
ANEW_CHILD = """
import http.client, json, sys
from watcher.idle.connection import tls
order = json.loads(sys.stdin.readline())
api = order["api"]
connection = http.client.HTTPSConnection(api["host"], api["port"], context=tls(api["ca_pem"], None))
while True:
    path = f"/api/v1/namespaces/{order['namespace']}/configmaps?watch=true&timeoutSeconds=3&resourceVersion=0"
    connection.request("GET", path, headers={"Authorization": f"Bearer {api['token']}"})
    answer = connection.getresponse()
    print(connection.sock.getsockname()[1], flush=True)
    answer.read()
"""
"""A watch that ends every 3 s and is asked for anew on the same connection, as libraries do. Nobody has keepalive."""
ANEW = "anew"
QUIET = {"none": (False, API_PORT), "client": (True, API_PORT), "server": (False, API_KEEPALIVE_PORT),
         "both": (True, API_KEEPALIVE_PORT), ANEW: (False, API_PORT)}  # fmt: skip


async def quiet_scene(restricted: bool) -> dict[str, Any]:
    """Four programs hold a quiet watch each, a fifth one that is not quiet; they are looked at from outside for 17 s.

    So long that the server's probes, 4 s apart, are told as 3.2 to 5 s apart, whenever the first one came and however
    late the second look is.

    ``restricted``: as in a pod whose seccomp profile refuses pidfd_getfd.
    """
    if restricted:

        def refused(_: int) -> Any:
            raise PermissionError(1, "Operation not permitted")

        vars(duplicates)["options"] = refused
    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(1.0))
    async with starting(cluster, None) as running:
        access = running.access
        updater = Updater(ApiServer(access.host, access.port, access.ca_pem, access.token), lambda _: None)
        await updater.create(Trigger(SPACE))
        updater.close()
        children = {}
        for name, (keepalive, port) in QUIET.items():
            program = ANEW_CHILD if name == ANEW else CHILD
            children[name] = child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            api = {"host": API_ADDRESS, "port": port, "ca_pem": access.ca_pem, "token": access.token}
            assert child.stdin is not None
            child.stdin.write(json.dumps({"api": api, "namespace": SPACE, "keepalive": keepalive}).encode() + b"\n")
        for child in children.values():
            assert child.stdout is not None
            await asyncio.wait_for(child.stdout.readline(), 60)
        await asyncio.sleep(1)  # until nothing of the answers is on its way
        watches = {name: quiet.QuietWatch(least_quiet_seconds=5) for name in QUIET}
        for pause in (17.0, 0.0):
            for name, watch in watches.items():
                watch.look(children[name].pid)
            await asyncio.sleep(pause)
        text = {name: quiet.describe(child.pid) for name, child in children.items()}
        for child in children.values():
            child.kill()
            await child.wait()
        said = children[ANEW].stdout
        assert said is not None
        more = (await said.read()).decode().split()
        gone = quiet.QuietWatch()
        gone.look(children["none"].pid)
    found = {name: watch.measured().model_dump(mode="json") for name, watch in watches.items()}
    return {
        "found": found,
        "text": text,
        "gone": gone.measured().model_dump(mode="json"),
        "own": os.getpid(),
        "anew on": more,
    }


@pytest.fixture(scope="module")
def looked_at() -> Iterator[Callable[[bool], dict[str, Any]]]:
    with ThreadPoolExecutor(2) as pool:
        futures = {each: pool.submit(run_inside, quiet_scene, each) for each in (False, True)}
        yield lambda restricted: dict(futures[restricted].result())


Looked = Callable[[bool], dict[str, Any]]


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("name", ["none", "client", "server"])
def test_who_keeps_a_quiet_watch_alive(looked_at: Looked, name: str, restricted: bool) -> None:
    """Else "Has keepalive?" in the user's table is a guess."""
    found = looked_at(restricted)["found"][name]
    assert found["by"] == name
    if name == "client":
        assert found["interval_seconds"] == pytest.approx(1, abs=0.3)
    if name == "server":
        assert found["interval_seconds"] == pytest.approx(180 / SCALE, abs=1)


def test_both_may_do_it(looked_at: Looked) -> None:
    """Else a client's keepalive hides that the server has one, too."""
    assert looked_at(False)["found"]["both"]["by"] == "both"


@pytest.mark.parametrize("restricted", [False, True])
def test_a_watch_that_begins_anew_is_nobodys_keepalive(looked_at: Looked, restricted: bool) -> None:
    """Else every client has keepalive in the user's table as soon as the API server ends its watches: each hour."""
    seen = looked_at(restricted)
    assert seen["found"][ANEW]["by"] == "unknown"
    assert seen["found"][ANEW]["quiet_seconds"] == 0
    assert len(seen["anew on"]) >= 2
    assert len(set(seen["anew on"])) == 1


def test_the_options_are_the_sockets_own(looked_at: Looked) -> None:
    """Else a table repeats what a program claims."""
    open_, restricted = looked_at(False)["found"], looked_at(True)["found"]
    assert [open_[name]["option"] for name in ("none", "client")] == ["off", "on 1/1/5"]
    assert [restricted[name]["option"] for name in ("none", "client")] == ["off", "on 1/?/?"]


def test_a_program_that_is_gone_is_unknown(looked_at: Looked) -> None:
    """Else its absence counts as silence: ``none``."""
    gone = looked_at(False)["gone"]
    assert gone["by"] == "unknown"
    assert "cannot be read" in gone["option"]


def test_a_failure_can_name_the_sockets(looked_at: Looked) -> None:
    """Else whoever reads a failure's record has nothing to look for in a capture."""
    text = looked_at(False)["text"]["client"]
    assert f"-> {API_ADDRESS}:{API_PORT}" in text
    assert "keepalive on 1/1/5" in text
