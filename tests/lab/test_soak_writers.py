"""What the soak writes, on a real API server: selectors, pages, quotas and conflicts as they really are answered."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.sandboxed import run_inside
from tests.unit.soak.counts import counted, totals
from watcher.api import ApiServer, request
from watcher.errors import LabUnavailable
from watcher.lab import network, sysctls
from watcher.lab.control_plane import haproxy
from watcher.lab.control_plane.binaries import Binaries, find
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.programs.environments import cache_folder
from watcher.soak import failures
from watcher.soak.failures import FailureWriter
from watcher.soak.store import Portion, TotalsStore
from watcher.totals import Failure, Update
from watcher.updater import Trigger, Updater

pytestmark = pytest.mark.lab

NAMESPACE = "watcher"
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


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


def miss(number: int, instance: str = "soak") -> Failure:
    at = (NOW - timedelta(hours=number)).isoformat()
    return Failure(
        instance=instance,
        stack="python-kubernetes",
        profile="default",
        nonce=f"nonce-{number}",
        touched_at=at,
        missed_at=at,
        deadline_seconds=10,
    )


async def writers_scene(programs: list[str], folder: str) -> dict[str, Any]:
    """Seven misses in pages of two, room for four, one seen late; portions, one of them twice; then a full quota."""
    etcd, server, version = programs
    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(1.0))
    found = Binaries(Path(server).parent, Path(server), Path(etcd), None, version, "", "test")
    seen: dict[str, Any] = {}
    async with KubernetesControlPlane.start(cluster, Path(folder), binaries=found) as running:
        access = running.access
        api = ApiServer(access.host, access.port, access.ca_pem, access.token)
        updater = Updater(api, lambda _: None)
        await updater.create(Trigger(NAMESPACE))
        updater.close()
        told: list[tuple[str, int | None, str | None]] = []

        def make(spool: str, instance: str = "soak", keep: int = 4) -> FailureWriter:
            return FailureWriter(
                lambda: api,
                NAMESPACE,
                Path(folder) / spool,
                keep=keep,
                keep_days=30,
                now=lambda: NOW,
                on_written=lambda *line: told.append(line),
                instance=instance,
            )

        other = make("other", "other", keep=9)
        other.miss(miss(100, "other"))
        seen["other"] = await other.flush(30)
        failures.PAGE = 2
        writer = make("spool", keep=9)
        for number in range(7):
            writer.miss(miss(number))
        seen["flushed"] = await writer.flush(30)
        # A process that knows no names: it has to find the object by its labels.
        fresh = make("fresh")
        fresh.seen_late("nonce-2", "python-kubernetes/default", NOW.isoformat(), 899.75)
        seen["amended"] = await fresh.flush(30)
        await fresh._trim(30)
        seen["dropped"] = fresh.dropped
        store = TotalsStore(lambda: api, NAMESPACE, "soak")
        portion = totals(counted(observed=1), updates={Update.OK: 1})
        merged = [await store.merge(Portion("a", number, portion)) for number in (1, 2, 2)]
        seen["merged"] = merged[-1].updates[Update.OK]
        listed = request(api, "GET", CONFIG_MAPS, timeout_seconds=30).body["items"]
        seen["objects"] = {each["metadata"]["name"]: each.get("data", {}) for each in listed}
        quota = {"metadata": {"name": "full"}, "spec": {"hard": {"count/configmaps": "1"}}}
        made = request(api, "POST", f"/api/v1/namespaces/{NAMESPACE}/resourcequotas", quota, timeout_seconds=30)
        seen["quota"] = made.status
        # Without its controller a quota is enforced once its status says what is allowed and used.
        made.body["status"] = {"hard": {"count/configmaps": "1"}, "used": {"count/configmaps": "1"}}
        path = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas/full"
        request(api, "PUT", f"{path}/status", made.body, timeout_seconds=30)
        # Of the quota, too, the server learns by watching, a moment later.
        tried, until = {"metadata": {"name": "beyond"}}, time.monotonic() + 30
        while request(api, "POST", f"{CONFIG_MAPS}?dryRun=All", tried, timeout_seconds=30).status != 403:
            assert time.monotonic() < until, "the quota is not enforced"
            await asyncio.sleep(0.05)
        told.clear()
        writer.miss(miss(50))
        seen["within the quota"] = await writer.flush(5)
        seen["told"] = told[-1][1:]
        request(api, "DELETE", path, timeout_seconds=30)
        seen["after the quota"] = await writer.flush(30)
    return seen


def test_failures_and_totals_on_a_real_api_server(programs: list[str], tmp_path: Path) -> None:
    """The embedded control plane has neither selectors nor pages nor quotas: a user's cluster has them all."""
    seen = run_inside(writers_scene, programs, str(tmp_path), timeout=110)
    assert (seen["other"], seen["flushed"], seen["amended"]) == (True, True, True)
    kept = sorted(data["nonce"] for name, data in seen["objects"].items() if name.startswith("failure-"))
    assert kept == ["nonce-0", "nonce-1", "nonce-100", "nonce-2", "nonce-3"]
    assert seen["dropped"] == 3
    late = {data["nonce"] for name, data in seen["objects"].items() if data.get("delaySeconds") == "899.75"}
    assert late == {"nonce-2"}
    assert seen["merged"] == 2
    assert seen["quota"] == 201
    assert seen["within the quota"] is False
    status, problem = seen["told"]
    assert status == 403
    assert "quota" in problem
    assert seen["after the quota"] is True
