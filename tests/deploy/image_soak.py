"""A scene: the image's soak in the lab, with the token of its own service account, on the real control plane."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tests.deploy.attempts import LABEL, MAPS
from tests.deploy.cluster import Cluster, binaries
from tests.deploy.images import IMAGE, RESTRICTED
from tests.deploy.manifests import DEPLOY
from watcher.lab import network, sysctls
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.control_plane.running import Access

OBSERVED_SECONDS = 240.0
PORT = 18_080


def get(path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", PORT, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def observed(metrics: str) -> list[float]:
    """By watcher."""
    lines = [line for line in metrics.splitlines() if line.startswith("watcher_observed_total{")]
    return [float(line.rsplit(" ", 1)[1]) for line in lines]


def resident_mib(metrics: str) -> float:
    (line,) = [each for each in metrics.splitlines() if each.startswith("process_resident_memory_bytes ")]
    return float(line.rsplit(" ", 1)[1]) / 2**20


async def soak_scene(programs: list[str], folder: str, storage: str, given: dict[str, str]) -> dict[str, Any]:
    """The base is applied, and its image runs with the token of its service account, in the lab's own network."""
    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(1.0))
    await asyncio.to_thread(subprocess.run, ["ip", "link", "set", "lo", "up"], check=True)
    async with KubernetesControlPlane.start(cluster, Path(folder), binaries=binaries(programs)) as running:
        access = running.access
        administrator = Cluster(access, Path(folder))

        def both() -> dict[str, Any]:
            applied = administrator.kubectl("apply", "-k", str(DEPLOY / "base"))
            assert applied["status"] == 0, applied
            token = administrator.token()
            administrator.until(token, f"{MAPS}?{LABEL}", 200)
            seen = {}
            for name, secret in {"own": token, "refused": "no-such-token"}.items():
                place = service_account(Path(folder) / name, secret, access.ca_pem)
                seen[name] = soak(access, place, storage, given, until=watched if name == "own" else told)
            _, found = administrator.ask("GET", MAPS)
            maps = {each["metadata"]["name"]: each.get("data", {}) for each in found.get("items", [])}
            return {**seen, "maps": maps}

        return await asyncio.to_thread(both)


def service_account(place: Path, token: str, ca_pem: str) -> Path:
    """The folder that a kubelet mounts."""
    place.mkdir()
    for name, text in {"token": token, "ca.crt": ca_pem, "namespace": "watcher"}.items():
        (place / name).write_text(text)
        (place / name).chmod(0o644)
    place.chmod(0o755)
    return place


def watched() -> bool:
    counts = observed(get("/metrics")[1])
    return counts != [] and min(counts) >= 2


def told() -> bool:
    """Before it has asked for the first time it says that nothing is ready, too."""
    status, said = get("/readyz")
    return status == 503 and "401" in said


def soak(
    access: Access, place: Path, storage: str, given: dict[str, str], *, until: Callable[[], bool]
) -> dict[str, Any]:
    """Runs the image until that is so, or time is over; what its endpoints said then, and how it ended."""
    variables = {
        **given,
        "KUBERNETES_SERVICE_HOST": access.host,
        "KUBERNETES_SERVICE_PORT": str(access.port),
        "CHANGE_INTERVAL_SECONDS": "3",
        "WATCHER_LISTEN": f"127.0.0.1:{PORT}",
        "WATCHER_NAMESPACE": "watcher",
        "WATCHER_NODE": "lab",
    }
    options = [f"--env={name}={value}" for name, value in variables.items()]
    mounts = [
        f"--volume={place}:/var/run/secrets/kubernetes.io/serviceaccount:ro",
        "--tmpfs=/var/lib/watcher:rw,mode=1777,size=64m",
        "--tmpfs=/tmp:rw,mode=1777,size=16m",
    ]
    os.environ["CONTAINERS_STORAGE_CONF"] = storage
    command = ["podman", "run", "--rm", "--name=watcher-test", "--network=host", *RESTRICTED, *mounts, *options, IMAGE]
    log = place.with_suffix(".log")
    seen: dict[str, Any] = {}
    with log.open("w") as lines, subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT) as process:
        try:
            limit = time.monotonic() + OBSERVED_SECONDS
            while not until() and time.monotonic() < limit and process.poll() is None:
                time.sleep(0.2)
            metrics = get("/metrics")[1]
            seen = {"observed": observed(metrics), "resident_mib": resident_mib(metrics)}
            seen |= {path: get(f"/{path}") for path in ("readyz", "healthz")}
        finally:
            subprocess.run(["podman", "stop", "--time=30", "watcher-test"], capture_output=True, check=False)
            process.wait(timeout=60)
    return {**seen, "status": process.returncode, "log": log.read_text()[-20_000:]}
