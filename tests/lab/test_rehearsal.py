"""The rehearsal's stage: real control planes with deploy/'s rights, a pod's place in front of the path, honest counts.

The soak here is a stand-in, so that what is tested is the stage. The real one's tests are in ``test_rehearsal_*.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.lab import rehearsing
from tests.lab.rehearsing import STANDIN
from tests.lab.sandboxed import ROOT, run_inside
from watcher.catalog import Catalog
from watcher.lab.control_plane.binaries import Binaries
from watcher.rehearsal import cluster as cluster_module
from watcher.rehearsal import run
from watcher.rehearsal.cluster import Cluster
from watcher.rehearsal.options import RehearsalOptions
from watcher.rehearsal.order import ClusterOrder
from watcher.rehearsal.run import Rehearsed

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


CAPTURED_OCTETS = 20_000


def rehearse(output: Path, monkeypatch: pytest.MonkeyPatch, control_plane: str, **variables: str) -> Rehearsed:
    monkeypatch.setattr(run, "SOAK", ("env", *(f"{name}={value}" for name, value in variables.items()), *STANDIN))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = RehearsalOptions(
        clusters={"public": "azure-slb", "private": "azure-private-link"},
        stacks="python-urllib3",
        touches=3,
        interval_seconds=12,
        scale=12,
        control_plane=control_plane,
        output=output,
    )
    with (output.parent / "said.txt").open("w") as said:
        return run.rehearse(options, Catalog.load(), Console(file=said, width=500))


@pytest.mark.parametrize("control_plane", ["kubernetes", "embedded"])
def test_two_clusters_are_soaked_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control_plane: str) -> None:
    """Otherwise nobody can try the soak, or its deployment, without a cloud."""
    if control_plane == "kubernetes":
        rehearsing.real_control_plane()
    rehearsed = rehearse(tmp_path / "out", monkeypatch, control_plane)
    assert rehearsed.trusted, rehearsed
    assert list(rehearsed.clusters) == ["public", "private"]
    for name, ended in rehearsed.clusters.items():
        assert ended.status == 0
        (totals,) = ended.totals
        assert sum(totals.updates.values()) >= 3
        if control_plane == "kubernetes":
            assert ended.audit is not None
            assert ended.audit.answered == sum(totals.updates.values())
        kept = {file.name for file in (tmp_path / "out" / name).iterdir()}
        assert {"soak.log", "configmaps.json", "client-link.pcap", "server-link.pcap", "path.jsonl"} <= kept
        assert ended.figures["packets on client link, to-server"] > 0
    result = json.loads((tmp_path / "out" / run.RESULT).read_text())
    assert result["clusters"]["private"]["problems"] == []
    assert "ended after" in (tmp_path / "said.txt").read_text()


def test_a_soak_that_invents_touches_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the comparison with the audit log above could not fail."""
    rehearsing.real_control_plane()
    rehearsed = rehearse(tmp_path / "out", monkeypatch, "kubernetes", STANDIN_INVENTS="1")
    assert not rehearsed.trusted
    for ended in rehearsed.clusters.values():
        assert any("the audit log" in each for each in ended.disagreements)


def test_a_soak_that_ends_by_itself_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an hour that lasted a second would be published."""
    rehearsed = rehearse(tmp_path / "out", monkeypatch, "embedded", CHANGE_INTERVAL_SECONDS="none")
    assert not rehearsed.trusted
    for ended in rehearsed.clusters.values():
        assert "ended by itself (status 1)" in ended.problems[0]
        assert "ValueError" in ended.problems[0]


def order_for(folder: Path, control_plane: Binaries | None) -> str:
    manifests, kubectl = rehearsing.manifests(control_plane)
    made = rehearsing.order(folder, control_plane=control_plane, command=STANDIN, interval_seconds=0.5)
    return made.model_copy(update={"manifests": manifests, "kubectl": kubectl}).model_dump_json()


def sleepers() -> int:
    found = 0
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += b"sleep\x00100" in command.read_bytes()
    return found


async def pod_scene(order: str) -> dict[str, Any]:
    """A pod beside a path: what it sees of the world, its rights, its end."""
    seen: dict[str, Any] = {}
    cluster_module.MOST_CAPTURED_OCTETS = CAPTURED_OCTETS
    async with Cluster.start(ClusterOrder.model_validate_json(order)) as cluster:
        look = await cluster.run(["sh", "-c", "echo pid $$; sleep 1000 & ls /proc | grep -c '^[0-9]'"], log="look.log")
        seen["status"] = await look.ended()
        seen["look"] = (cluster.folder / "look.log").read_text().split("\n")
        ignoring = await cluster.run(["sh", "-c", "trap '' TERM; sleep 1000 & sleep 1001"], log="deaf.log")
        await rehearsing.until(lambda: sleepers() == 2, 60, "the pod that ignores SIGTERM has not begun")
        seen["sleepers before"] = sleepers()
        began = time.monotonic()
        seen["deaf"] = await ignoring.stop(0.5)
        seen["deaf seconds"] = time.monotonic() - began
        seen["sleepers"] = sleepers()
        pod = await cluster.run(cluster.order.command)
        await rehearsing.touched(cluster, pod, 2)
        await cluster.renew_token()
        await rehearsing.touched(cluster, pod, 2)
        seen["soak"] = await rehearsing.ended(cluster, pod)
        token = (cluster.credentials.folder / "token").read_text()
        for path in ("/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/watcher/secrets", "/api/v1/nodes"):
            answer = await cluster.administrator.client.request("GET", path, token)
            seen[path] = answer.status
        seen["not kept"] = cluster.path.not_kept
    seen["captured"] = [file.stat().st_size for file in sorted(cluster.folder.glob("*.pcap"))]
    return seen


def test_a_pod_has_a_pods_place(tmp_path: Path) -> None:
    """Otherwise what works in the rehearsal fails in a cluster: rights, signals, what is left when a container ends."""
    control_plane = rehearsing.real_control_plane()
    seen = run_inside(pod_scene, order_for(tmp_path, control_plane), timeout=200)
    assert seen["status"] == 0
    assert seen["look"][0] == "pid 1"
    assert int(seen["look"][1]) < 6
    assert seen["deaf"] == -signal.SIGKILL
    assert seen["deaf seconds"] < 10
    assert seen["sleepers before"] >= 1
    assert seen["sleepers"] == 0, "programs outlived their container"
    assert seen["soak"]["status"] == 0, seen["soak"]["log"]
    assert seen["soak"]["disagreements"] == []
    assert seen["not kept"] > 0
    assert all(CAPTURED_OCTETS - 2000 < octets <= CAPTURED_OCTETS for octets in seen["captured"])
    refused = [status for path, status in seen.items() if path.startswith("/api/")]
    assert refused == [403, 403, 403], "the soak's account has rights beyond its namespace"


def test_nothing_outlives_the_command(tmp_path: Path) -> None:
    """Otherwise a rehearsal that is killed leaves control planes behind, each with some hundred MB."""
    command = [sys.executable, "-m", "watcher", "rehearse", "--cluster", "only=direct", "--touches", "1000"]
    options = ["--stacks", "python-urllib3", "--control-plane", "embedded", "--output", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "has been started" in line:
                break
        assert left_of(tmp_path), "this test would not see what it looks for"
        running.kill()
    end = time.monotonic() + 60
    while left := left_of(tmp_path):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def left_of(folder: Path) -> list[str]:
    """Processes whose environment or open files name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            names = [str(each.readlink()) for each in (process / "fd").iterdir()]
            if int(process.name) != os.getpid() and any(name.startswith(str(folder)) for name in names):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
