"""The soak while what it stands on fails: API server, etcd, token, disk, its programs, and itself.

After each: no touch and no miss was lost, none was invented, and the totals agree with the API server's audit log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.lab import full_etcd, rehearsing
from tests.lab.rehearsing import answered, ended, touched, until
from tests.lab.sandboxed import run_inside
from watcher.catalog import Catalog
from watcher.lab import sandbox
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.programs import environments
from watcher.rehearsal import reading
from watcher.rehearsal.cluster import Cluster
from watcher.rehearsal.order import ClusterOrder
from watcher.rehearsal.pod import Pod

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

STEADY = "python-urllib3/tcp-keepalive"
"""Watches anew by itself after an end or an error."""
SHAKY = "python-urllib3/default"
KILLS = 6
STOPPED_SECONDS = 50.0
"""Longer than an update waits for its answer with a deadline of 5 s, so that some fail; others are answered late."""

Scene = Callable[..., Coroutine[Any, Any, Any]]


def play(scene: Scene, order: ClusterOrder, *arguments: Any) -> dict[str, Any]:
    manifests, kubectl = rehearsing.manifests(order.control_plane)
    whole = order.model_copy(update={"manifests": manifests, "kubectl": kubectl})
    seen = run_inside(scene, whole.model_dump_json(), *arguments, timeout=390)
    assert isinstance(seen, dict)
    return seen


def order_for(folder: Path, profiles: str = "tcp-keepalive", **variables: str) -> ClusterOrder:
    control_plane = rehearsing.real_control_plane()
    return rehearsing.order(folder, control_plane=control_plane, profiles=profiles, variables=variables)


def agrees(seen: dict[str, Any]) -> None:
    """What every one of these tests is about."""
    assert seen["problems"] == []
    assert seen["disagreements"] == [], seen
    assert seen["status"] == 0, seen["log"]
    assert seen["updates"].get("ok", 0) >= 3


def programs(profile: str) -> list[int]:
    """The clients of this profile, by their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (
                b"watch.py" in (place / "cmdline").read_bytes()
                and f"WATCHER_PROFILE={profile}".encode() in (place / "environ").read_bytes()
            ):
                found.append(int(place.name))
    return found


async def watching(cluster: Cluster, pod: Pod, watchers: int = 1, seconds: float = 90) -> None:
    """Waits until as many watchers have observed a touch."""

    async def observed() -> int:
        left = reading.left(await cluster.config_maps())
        return sum(watcher.observed > 0 for each in left.totals for watcher in each.watchers)

    async with asyncio.timeout(seconds):
        while await observed() < watchers:
            assert pod.running, pod.last_words()
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def soaking(order: str, watchers: int = 1) -> Any:
    """A cluster and a soak in it that has observed."""
    async with Cluster.start(ClusterOrder.model_validate_json(order)) as cluster:
        pod = await cluster.run(cluster.order.command)
        await watching(cluster, pod, watchers)
        yield cluster, pod


def kubernetes(cluster: Cluster) -> KubernetesControlPlane:
    assert isinstance(cluster.control_plane, KubernetesControlPlane)
    return cluster.control_plane


def component(cluster: Cluster, name: str) -> Any:
    return next(each for each in kubernetes(cluster).components if each.name == name)


async def stopped_server_scene(order: str) -> dict[str, Any]:
    async with soaking(order) as (cluster, pod):
        server = component(cluster, "kube-apiserver-1")
        server.signal(signal.SIGSTOP)
        await asyncio.sleep(STOPPED_SECONDS)
        server.signal(signal.SIGCONT)
        await touched(cluster, pod, 3)
        return await ended(cluster, pod)


async def killed_server_scene(order: str) -> dict[str, Any]:
    async with soaking(order) as (cluster, pod):
        server = component(cluster, "kube-apiserver-1")
        server.signal(signal.SIGKILL)
        await asyncio.sleep(10)
        await server.restart()
        await kubernetes(cluster).answers()
        await touched(cluster, pod, 3)
        return await ended(cluster, pod)


def test_an_api_server_that_does_not_answer_is_not_the_watchers_miss(tmp_path: Path) -> None:
    """Otherwise every upgrade of a control plane is charged to the clients."""
    seen = play(stopped_server_scene, order_for(tmp_path))
    agrees(seen)
    assert seen["updates"].get("away", 0) + seen["updates"].get("slow", 0) >= 1
    assert seen["watchers"][STEADY]["missed"] == 0


def test_an_api_server_that_is_away_is_not_the_watchers_miss(tmp_path: Path) -> None:
    """Otherwise a restart of the API server looks like a fault of a client that came back by itself."""
    seen = play(killed_server_scene, order_for(tmp_path))
    agrees(seen)
    assert seen["updates"].get("away", 0) >= 1
    assert seen["watchers"][STEADY]["missed"] == 0
    assert seen["watchers"][STEADY]["observed"] >= 3


async def full_etcd_scene(order: str) -> dict[str, Any]:
    async with soaking(order) as (cluster, pod):
        socket = kubernetes(cluster).etcd_socket
        assert socket is not None
        before = cluster.touches()
        filled = await full_etcd.fill(cluster)
        await until(lambda: refused(cluster) >= refusals(before) + 2, 60, "no touch was refused")
        await full_etcd.heal(cluster, socket)
        await touched(cluster, pod, 3)
        return {"filled": filled, **await ended(cluster, pod)}


def refused(cluster: Cluster) -> int:
    return refusals(cluster.touches())


def refusals(touches: Any) -> int:
    return sum(touches.others.values())


def test_a_full_etcd_charges_nobody_and_loses_nothing(tmp_path: Path) -> None:
    """Otherwise misses and counts of the time before are lost with it, or refused touches become misses."""
    order = order_for(tmp_path).model_copy(update={"etcd_quota_octets": full_etcd.QUOTA_OCTETS})
    seen = play(full_etcd_scene, order)
    agrees(seen)
    assert seen["filled"] > 3
    assert seen["updates"]["refused"] >= 2
    assert seen["watchers"][STEADY]["missed"] == 0


async def bad_token_scene(order: str) -> dict[str, Any]:
    async with soaking(order) as (cluster, pod):
        cluster.put_token("not-a-token")
        # A request with it is nobody's, so that no log has it under the soak's name.
        await asyncio.sleep(9)
        at = answered(cluster)
        await asyncio.sleep(3)
        still = answered(cluster) == at
        await cluster.renew_token()
        await touched(cluster, pod, 3)
        return {"still": still, **await ended(cluster, pod)}


def test_a_token_that_has_expired_charges_nobody_and_its_successor_is_taken(tmp_path: Path) -> None:
    """Otherwise a soak ends after an hour, when the kubelet has exchanged its token."""
    seen = play(bad_token_scene, order_for(tmp_path))
    agrees(seen)
    assert seen["still"], "the bad token was not used at all"
    assert seen["updates"]["denied"] >= 2
    assert seen["watchers"][STEADY]["missed"] == 0


async def missed_scene(order: str, full: bool) -> dict[str, Any]:
    """The client stops for some touches: real misses, which are then late. ``WATCHER_SPOOL`` may lie on a full disk."""
    spool = Path("/run/watcher/spool")
    await asyncio.to_thread(spool.mkdir)
    if full:
        sandbox.cover(spool, most_octets=256 << 10)
    async with soaking(order) as (cluster, pod):
        if full:
            await asyncio.to_thread(fill_disk, spool / "ballast")
        await touched(cluster, pod, 1)
        healthy = await health(cluster)
        before = await all_decided(cluster)
        for pid in programs("tcp-keepalive"):
            send(pid, signal.SIGSTOP)
        await touched(cluster, pod, 2)
        await until_failures(cluster, 1)
        for pid in programs("tcp-keepalive"):
            send(pid, signal.SIGCONT)
        stopped = cluster.touches()
        assert stopped is not None
        await touched(cluster, pod, 2)
        sick = await health(cluster)
        if full:
            (spool / "ballast").unlink()
            await touched(cluster, pod, 2)
        found = await ended(cluster, pod)
        return {"before": before, "stopped": list(stopped.nonces[before:]), "health": [healthy, sick], **found}


def fill_disk(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as ballast:
        for size in (4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(b"x" * size)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def until_failures(cluster: Cluster, least: int, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while len(reading.left(await cluster.config_maps()).failures) < least:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.3)


async def said(cluster: Cluster, path: str) -> str:
    """What the soak answers there, with its status."""

    def ask() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:8080{path}", timeout=30) as answer:
                return f"{answer.status} {answer.read().decode()}"
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"

    return await asyncio.to_thread(cluster.network.client.enter, ask)


async def health(cluster: Cluster) -> str:
    return await said(cluster, "/readyz")


async def all_decided(cluster: Cluster, seconds: float = 60) -> int:
    """Waits until no touch is on its way to a watcher: whoever is stopped then misses no touch of before. Returns how
    many have been answered.
    """
    async with asyncio.timeout(seconds):
        while True:
            touches = cluster.touches()
            assert touches is not None
            decided = re.findall(r"^watcher_touches_total{.*} (\S+)$", await said(cluster, "/metrics"), re.MULTILINE)
            if sum(map(float, decided)) == touches.answered + refusals(touches):
                return touches.answered
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("full", [False, True])
def test_a_client_that_is_stopped_misses_and_is_late(tmp_path: Path, full: bool) -> None:
    """Otherwise a miss is lost, with a full disk or without one: the one thing that the soak is for."""
    order = order_for(tmp_path, WATCHER_SPOOL="/run/watcher/spool")
    seen = play(missed_scene, order, full)
    agrees(seen)
    watcher = seen["watchers"][STEADY]
    assert watcher["missed"] >= 1
    assert {failure["nonce"] for failure in seen["failures"]} <= set(seen["stopped"])
    assert watcher["missed"] == len(seen["failures"])
    assert watcher["restarts"] == 0
    if full:
        assert "spool" in "".join(seen["health"]), seen["health"]


def shaky_environment(folder: Path, lives_seconds: float) -> str:
    """A cache in which the client of profile ``default`` is killed after a while; all else is the real one."""
    found = Catalog.load().stacks["python-urllib3"]
    real = environments.build(found.folder, found.build)
    made = folder / "cache" / "environments" / real.name / "bin" / "python"
    made.parent.mkdir(parents=True)
    made.write_text(
        f"""#!/bin/sh
if [ "$WATCHER_PROFILE" = default ]; then exec timeout -s KILL {lives_seconds:g} {real}/bin/python "$@"; fi
exec {real}/bin/python "$@"
"""
    )
    made.chmod(0o755)
    return str(folder / "cache")


async def shaky_scene(order: str) -> dict[str, Any]:
    async with soaking(order, watchers=2) as (cluster, pod):
        async with asyncio.timeout(120):
            while restarts(reading.left(await cluster.config_maps())) < 3:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.5)
        await touched(cluster, pod, 3)
        return await ended(cluster, pod)


def restarts(left: reading.Left) -> int:
    return max((watcher.restarts for each in left.totals for watcher in each.watchers), default=0)


def test_a_program_that_crashes_in_a_loop_harms_nobody_else(tmp_path: Path) -> None:
    """Otherwise one broken client takes the table of all others with it."""
    cache = shaky_environment(tmp_path, 3)
    seen = play(shaky_scene, order_for(tmp_path, "default,tcp-keepalive", WATCHER_CACHE=cache))
    agrees(seen)
    assert seen["watchers"][STEADY]["missed"] == 0
    assert seen["watchers"][STEADY]["restarts"] == 0
    shaky = seen["watchers"][SHAKY]
    assert shaky["restarts"] >= 3
    assert shaky["missed"] >= 1, "it was never away at a touch: this test shows less than it should"
    assert {(failure["stack"], failure["profile"]) for failure in seen["failures"]} == {("python-urllib3", "default")}


async def killed_soak_scene(order: str, seed: int) -> dict[str, Any]:
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    async with Cluster.start(ClusterOrder.model_validate_json(order)) as cluster:
        pod: Pod = await cluster.run(cluster.order.command)
        await watching(cluster, pod)
        moments = []
        for _ in range(KILLS):
            await touched(cluster, pod, 1)
            moments.append(round(chance.uniform(0, 4), 3))
            await asyncio.sleep(moments[-1])
            await pod.kill()
            pod = await cluster.run(cluster.order.command)
        await touched(cluster, pod, 3)
        return {"moments": moments, **await ended(cluster, pod)}


def test_a_soak_that_is_killed_at_any_moment_neither_loses_nor_invents(tmp_path: Path) -> None:
    """Otherwise a node drain or the OOM killer makes the table wrong, and nobody can tell."""
    cache = shaky_environment(tmp_path, 3)
    order = order_for(tmp_path, "default,tcp-keepalive", WATCHER_CACHE=cache)
    seed = random.randrange(10**6)  # noqa: S311 - another one each time, told where it fails
    seen = play(killed_soak_scene, order, seed)
    seen["seed"] = seed
    agrees(seen)
    assert seen["updates"].get("interrupted", 0) <= KILLS
    assert seen["watchers"][STEADY]["missed"] == 0, seen


@pytest.mark.parametrize(
    ("mutant", "scene", "says"),
    [
        ("loses", shaky_scene, "failures"),
        ("charges", full_etcd_scene, "the audit log"),
        ("forgets", killed_soak_scene, "the audit log"),
    ],
)
def test_the_tests_above_can_fail(tmp_path: Path, mutant: str, scene: Scene, says: str) -> None:
    """Otherwise they would pass with a soak that loses misses, counts what was refused, or forgets when killed."""
    shaky = scene is not full_etcd_scene
    variables = {"MUTANT": mutant}
    if shaky:
        variables["WATCHER_CACHE"] = shaky_environment(tmp_path, 3)
    order = order_for(tmp_path, "default,tcp-keepalive" if shaky else "tcp-keepalive", **variables)
    broken = order.model_copy(
        update={
            "command": (sys.executable, "-m", "tests.lab.mutant_soak"),
            "etcd_quota_octets": None if shaky else full_etcd.QUOTA_OCTETS,
        }
    )
    seen = play(scene, broken, *([1] if scene is killed_soak_scene else []))
    assert any(says in each for each in seen["disagreements"]), seen
