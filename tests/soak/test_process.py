"""``python -m watcher.soak`` as a process of its own, with real client programs, on the embedded control plane."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from watcher.api import ApiServer, request
from watcher.catalog import Catalog
from watcher.lab.control_plane.objects import CONFIG_MAPS
from watcher.lab.control_plane.server import Server, serve
from watcher.programs import environments
from watcher.totals import Totals, Update

pytestmark = pytest.mark.timeout(300)

NAMESPACE = "soak-test"
STACK = "python-urllib3"
PROFILES = ("default", "tcp-keepalive")
SECONDS = 60.0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve() as running:
        host, _, port = running.addresses[0].rpartition(":")
        api = ApiServer(host, int(port), running.ca_pem, running.token)
        body = {"metadata": {"name": NAMESPACE}}
        await asyncio.to_thread(request, api, "POST", "/api/v1/namespaces", body, timeout_seconds=10)
        yield running


@pytest.fixture(autouse=True)
def built() -> None:
    found = Catalog.load().stacks[STACK]
    assert environments.is_built(found.folder, found.build), "make setup builds the client environments"


class Soak:
    """The process, and what it has left in the cluster."""

    def __init__(self, server: Server, folder: Path, **variables: str) -> None:
        self.server, self.folder = server, folder
        (folder / "ca.pem").write_text(server.ca_pem)
        cluster = {"server": f"https://{server.addresses[0]}", "certificate-authority": str(folder / "ca.pem")}
        kubeconfig: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
            "clusters": [{"name": "c", "cluster": cluster}],
        }
        self._kubeconfig = kubeconfig
        self.use(server.token)
        self.variables = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "WATCHER_CACHE") if name in os.environ},
            "KUBECONFIG": str(folder / "kubeconfig"),
            "WATCHER_SPOOL": str(folder / "spool"),
            "WATCHER_LISTEN": "127.0.0.1:0",
            "WATCHER_STACKS": STACK,
            "CHANGE_INTERVAL_SECONDS": "1",
            "DEADLINE_SECONDS": "30",
            **variables,
        }
        self.process: asyncio.subprocess.Process | None = None

    def use(self, token: str) -> None:
        """From now on the kubeconfig has this token; who reads the file meanwhile reads the old one or the new one."""
        self._kubeconfig["users"] = [{"name": "u", "user": {"token": token}}]
        new = self.folder / "kubeconfig.new"
        new.write_text(json.dumps(self._kubeconfig))
        new.replace(self.folder / "kubeconfig")

    async def start(self) -> asyncio.subprocess.Process:
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "watcher.soak", env=self.variables, stderr=log
            )
        return self.process

    def objects(self, prefix: str) -> dict[str, dict[str, str]]:
        return {
            version.name: version.value.get("data", {})
            for version in self.server.store.versions(CONFIG_MAPS)
            if version.name.startswith(prefix)
        }

    def totals(self) -> Totals | None:
        found = self.objects("totals-").get("totals-soak")
        return None if found is None else Totals.model_validate_json(found["totals.json"])

    def observed(self, profile: str) -> int:
        totals = self.totals()
        return sum(each.observed for each in totals.watchers if each.profile == profile) if totals is not None else 0

    async def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not holds():
            assert self.process is not None
            assert self.process.returncode is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, (self.folder / "log").read_text()
            await asyncio.sleep(0.1)

    def programs(self) -> list[int]:
        """Client programs of this soak, by what they were given."""
        mark = f"TMPDIR={self.folder}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if mark in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    async def end(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), SECONDS)


@pytest.fixture
async def soak(server: Server, tmp_path: Path) -> AsyncIterator[Soak]:
    soak = Soak(server, tmp_path)
    yield soak
    if soak.process is not None and soak.process.returncode is None:
        soak.process.kill()
        await soak.process.wait()


async def test_touches_are_observed_and_counted_and_the_end_is_in_order(soak: Soak) -> None:
    """The whole way: a touch, a program's line, a count in the cluster; and nothing left behind by a rollout."""
    await soak.start()
    await soak.until(lambda: min(soak.observed(profile) for profile in PROFILES) >= 3)
    assert len(soak.programs()) == 2
    began = time.monotonic()
    assert await soak.end() == 0
    assert time.monotonic() - began < 25
    assert soak.programs() == []
    totals = soak.totals()
    assert totals is not None
    assert {watcher.profile for watcher in totals.watchers} == set(PROFILES)
    assert all(watcher.missed == 0 and watcher.library == "urllib3" for watcher in totals.watchers)
    assert totals.updates[Update.OK] >= 3
    assert soak.objects("failure-") == {}


async def test_a_deaf_program_is_a_miss_and_killing_the_soak_loses_none(soak: Soak) -> None:
    """SIGKILL after the miss, before or after it is in the cluster: it is there afterwards, once, and counted."""
    soak.variables |= {"CHANGE_INTERVAL_SECONDS": "3", "DEADLINE_SECONDS": "2"}
    process = await soak.start()
    await soak.until(lambda: min(soak.observed(profile) for profile in PROFILES) >= 1)
    for pid in soak.programs():
        os.kill(pid, signal.SIGSTOP)
    await soak.until(lambda: bool(soak.objects("failure-")))
    process.kill()
    await process.wait()
    end = time.monotonic() + SECONDS
    while soak.programs() and time.monotonic() < end:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.05)
    assert soak.programs() == [], "programs outlive a killed supervisor"

    await soak.start()
    before = soak.totals()
    assert before is not None
    await soak.until(
        lambda: (now := soak.totals()) is not None and now.updates.get(Update.OK, 0) > before.updates[Update.OK] + 1
    )
    assert await soak.end() == 0
    totals = soak.totals()
    assert totals is not None
    failures = soak.objects("failure-")
    keys = [(failure["nonce"], failure["stack"], failure["profile"]) for failure in failures.values()]
    assert len(set(keys)) == len(keys) == sum(watcher.missed for watcher in totals.watchers) >= 2
    assert all(failure["visibleAt"] and failure["process"] for failure in failures.values())
    for watcher in totals.watchers:
        assert watcher.touches <= totals.updates[Update.OK]


async def test_nobody_is_charged_while_updates_are_refused(soak: Soak) -> None:
    """A token that has expired is the update's own outcome."""
    await soak.start()
    await soak.until(lambda: (totals := soak.totals()) is not None and totals.updates.get(Update.OK, 0) >= 1)
    soak.use("expired")
    await soak.until(lambda: "denied" in (soak.folder / "log").read_text())
    soak.use(soak.server.token)
    await soak.until(lambda: (totals := soak.totals()) is not None and totals.updates.get(Update.DENIED, 0) >= 1)
    assert await soak.end() == 0
    totals = soak.totals()
    assert totals is not None
    assert all(watcher.missed == 0 for watcher in totals.watchers)
    assert soak.objects("failure-") == {}


async def test_small_and_quiet(soak: Soak) -> None:
    """It shares a node with what it watches over: 60 MB, and 2 % of a core while nothing happens."""
    soak.variables |= {"CHANGE_INTERVAL_SECONDS": "600", "WATCHER_PROFILES": "*", "MALLOC_ARENA_MAX": "2"}
    process = await soak.start()
    expected = len(Catalog.load().stacks[STACK].stack.profiles)
    await soak.until(lambda: len(soak.programs()) >= expected)

    def ticks() -> int:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    # Nothing happens once all has started, and nothing tells of that: so it is looked at until it is quiet.
    shares: list[float] = []
    end = time.monotonic() + SECONDS
    while (not shares or shares[-1] >= 0.02) and time.monotonic() < end:
        before, began = ticks(), time.monotonic()
        await asyncio.sleep(10)
        shares.append((ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began))
    status = await asyncio.to_thread(Path(f"/proc/{process.pid}/status").read_text)
    resident_kib = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kib < 60 * 1024
    assert shares[-1] < 0.02, shares
    assert await soak.end() == 0
