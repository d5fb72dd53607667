"""Clusters of a rehearsal for tests: orders, and waiting for what a soak does in them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lab.sandboxed import ROOT
from watcher.catalog import Catalog
from watcher.errors import LabUnavailable
from watcher.lab.control_plane import haproxy
from watcher.lab.control_plane.binaries import Binaries, find
from watcher.programs import environments
from watcher.programs.environments import cache_folder
from watcher.rehearsal import audit, reading, run
from watcher.rehearsal.cluster import Cluster
from watcher.rehearsal.options import RehearsalOptions, path_order
from watcher.rehearsal.order import ClusterOrder
from watcher.rehearsal.pod import Pod
from watcher.rehearsal.reading import Left
from watcher.rehearsal.run import SOAK, soak_environment

STANDIN = (sys.executable, "-m", "tests.lab.standin_soak")


def real_control_plane() -> Binaries:
    """Skips the test, with the reason, where it is not at hand."""
    try:
        found = find("kubernetes", cache_folder())
        haproxy.binary()
    except LabUnavailable as missing:
        pytest.skip(str(missing))
    assert found is not None
    return found


def order(
    folder: Path,
    *,
    path: str = "direct",
    control_plane: Binaries | None = None,
    command: tuple[str, ...] = SOAK,
    interval_seconds: float = 2.0,
    deadline_seconds: float = 5.0,
    stacks: str = "python-urllib3",
    profiles: str = "default",
    variables: Mapping[str, str] | None = None,
) -> ClusterOrder:
    """One cluster at scale 1; the stacks' environments are built where they are not."""
    catalog = Catalog.load()
    for name in catalog.select_stacks(stacks):
        found = catalog.stacks[name]
        environments.build(found.folder, found.build)
    options = RehearsalOptions(
        clusters={"test": path},
        stacks=stacks,
        profiles=profiles,
        interval_seconds=interval_seconds,
        deadline_seconds=deadline_seconds,
    )
    return ClusterOrder(
        name="test",
        path=path_order("test", catalog.paths[path], options),
        folder=str(folder / "test"),
        control_plane=control_plane,
        command=command,
        environment={
            **soak_environment(options, "test", path, folder),
            "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep),
            **(variables or {}),
        },
    )


def manifests(control_plane: Binaries | None) -> tuple[str | None, str | None]:
    """deploy/'s, and kubectl."""
    return run.manifests_of(control_plane)


async def until(what: Callable[[], Any], seconds: float, problem: str) -> None:
    """Waits until it is true. Raises AssertionError with the problem when it does not come to that."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(what):
        assert time.monotonic() < end, f"after {seconds:g} s: {problem}"
        await asyncio.sleep(0.1)


async def touched(cluster: Cluster, pod: Pod, more: int, seconds: float = 90) -> None:
    """Waits for so many more answered touches, by the API server's own log."""
    before = answered(cluster)

    def there() -> bool:
        assert pod.running, pod.last_words()
        return answered(cluster) >= before + more

    await until(there, seconds, f"{more} more touches did not come")


def answered(cluster: Cluster) -> int:
    touches = cluster.touches()
    assert touches is not None
    return touches.answered


async def ended(cluster: Cluster, pod: Pod) -> dict[str, Any]:
    """Ends the soak in order; what it left and whether that agrees, as JSON."""
    status = await pod.stop()
    left = reading.left(await cluster.config_maps())
    return {"status": status, "log": pod.last_words(), **said(cluster, left)}


def said(cluster: Cluster, left: Left) -> dict[str, Any]:
    touches = cluster.touches()
    updates: dict[str, int] = {}
    for each in left.totals:
        for update, count in each.updates.items():
            updates[str(update)] = updates.get(str(update), 0) + count
    return {
        "updates": updates,
        "watchers": {
            f"{w.stack}/{w.profile}": w.model_dump(include={"observed", "missed", "late", "restarts", "after_restart"})
            for each in left.totals
            for w in each.watchers
        },
        "failures": [dict(each) for each in left.failures],
        "problems": list(left.problems),
        "audit": None if touches is None else touches.model_dump(exclude={"nonces"}),
        "nonces": [] if touches is None else list(touches.nonces),
        "disagreements": list(audit.disagreements(left.totals, left.failures, touches)),
    }
