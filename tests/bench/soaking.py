"""What the soak's supervisor costs beside 25 watchers: memory, processor time while it waits, delay that it adds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from watcher.api import ApiServer, request
from watcher.lab.control_plane.server import Server, serve

WATCHERS = 25
NAMESPACE = "soak-bench"
CLIENT = Path(__file__).parent / "clients" / "quick"
IDLE_SECONDS = 30.0
BUSY_SECONDS = 20.0
BUSY_INTERVAL = "0.06"
"""1,000 touches a minute."""
START_SECONDS = 90.0


@dataclass(frozen=True)
class Soaked:
    """``added_ms``: from a program's line to the end of what the supervisor does with it, one by one."""

    memory_mib: float
    idle_cpu_share: float
    touches_a_minute: float
    added_ms: list[float]

    @property
    def p99_ms(self) -> float:
        return quantiles(self.added_ms, n=100)[98]

    @property
    def median_ms(self) -> float:
        return median(self.added_ms)


def measure() -> Soaked:
    return asyncio.run(_measure())


async def _measure() -> Soaked:
    async with serve() as server:
        host, _, port = server.addresses[0].rpartition(":")
        api = ApiServer(host, int(port), server.ca_pem, server.token)
        body = {"metadata": {"name": NAMESPACE}}
        await asyncio.to_thread(request, api, "POST", "/api/v1/namespaces", body, timeout_seconds=10)
        with tempfile.TemporaryDirectory() as name:
            idle = await _soak(server, Path(name) / "idle", "86400", IDLE_SECONDS)
            busy = await _soak(server, Path(name) / "busy", BUSY_INTERVAL, BUSY_SECONDS)
    return Soaked(
        memory_mib=max(idle.memory_mib, busy.memory_mib),
        idle_cpu_share=idle.cpu_seconds / IDLE_SECONDS,
        touches_a_minute=busy.touches / BUSY_SECONDS * 60,
        added_ms=busy.added_ms,
    )


@dataclass(frozen=True)
class _Seen:
    memory_mib: float
    cpu_seconds: float
    touches: int
    added_ms: list[float]


async def _soak(server: Server, folder: Path, interval: str, seconds: float) -> _Seen:
    variables = _variables(server, folder, interval)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.supervised", str(folder / "recorded"), env=variables, stderr=log
        )
    try:
        await asyncio.to_thread(_all_watch, folder)
        await asyncio.sleep(2)
        before, lines = _cpu_seconds(process.pid), len(_lines(folder))
        await asyncio.sleep(seconds)
        cpu, own, recorded = _cpu_seconds(process.pid) - before, _memory_mib(process.pid), _lines(folder)[lines:]
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _Seen(own, cpu, len({nonce for _, nonce, _ in recorded}), _added_ms(folder, recorded))


def _variables(server: Server, folder: Path, interval: str) -> dict[str, str]:
    folder.mkdir()
    (folder / "ca.pem").write_text(server.ca_pem)
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": f"https://{server.addresses[0]}",
                    "certificate-authority": str(folder / "ca.pem"),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": server.token}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "MALLOC_ARENA_MAX": "2",
        "KUBECONFIG": str(folder / "kubeconfig"),
        "WATCHER_CLIENTS": str(CLIENT),
        "WATCHER_STACKS": "quick-*",
        "WATCHER_PROFILES": "*",
        "WATCHER_SPOOL": str(folder / "spool"),
        "WATCHER_LISTEN": "127.0.0.1:0",
        "WATCHER_INSTANCE": folder.name,
        "CHANGE_INTERVAL_SECONDS": interval,
    }


def _all_watch(folder: Path) -> None:
    """Each has observed what was there when it began."""
    end = time.monotonic() + START_SECONDS
    while True:
        recorded = folder / "recorded"
        seen = {cell for cell, _, _ in _lines(folder)} if recorded.exists() else set()
        if len(seen) == WATCHERS:
            return
        assert time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.2)


def _memory_mib(pid: int) -> float:
    """The largest so far, of this process alone."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def _lines(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "recorded").read_text().splitlines() if line.count(" ") == 2]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _added_ms(folder: Path, recorded: list[list[str]]) -> list[float]:
    printed: dict[tuple[str, str], float] = {}
    for output in (folder / "spool" / "programs").glob("*/program.jsonl"):
        cell = output.parent.name.replace("--", "/", 1)
        for line in output.read_text().splitlines():
            said = json.loads(line)
            if said["event"] == "observed":
                printed.setdefault((cell, said["nonce"]), said["at"])
    added = []
    for cell, nonce, done in recorded:
        if (cell, nonce) in printed:
            added.append((float(done) - printed[cell, nonce]) * 1000)
    return added
