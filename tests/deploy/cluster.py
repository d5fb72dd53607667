"""A cluster of the lab as its administrator and as the soak meet it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.deploy.attempts import ACCOUNT, NAMESPACE
from watcher.api import JSON, UNANSWERED, ApiServer, request
from watcher.lab.control_plane.binaries import Binaries
from watcher.lab.control_plane.running import Access

EFFECTIVE_SECONDS = 60.0
"""For what takes milliseconds where the machine is not busy."""


def binaries(programs: list[str]) -> Binaries:
    etcd, server, version = programs
    return Binaries(Path(server).parent, Path(server), Path(etcd), None, version, "", "test")


class Cluster:
    """What an administrator does with kubectl, and what the soak does with its token."""

    def __init__(self, access: Access, folder: Path) -> None:
        self._access = access
        self._folder = folder
        self._kubeconfig = folder / "kubeconfig"
        (folder / "ca.pem").write_text(access.ca_pem)
        named: dict[str, Any] = {
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {
                        "server": f"https://{access.host}:{access.port}",
                        "certificate-authority": str(folder / "ca.pem"),
                    },
                }
            ],
            "users": [{"name": "admin", "user": {"token": access.token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        }
        self._kubeconfig.write_text(
            json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "lab", **named})
        )

    def kubectl(self, *arguments: str) -> dict[str, Any]:
        command = ["kubectl", f"--kubeconfig={self._kubeconfig}", f"--cache-dir={self._folder / 'cache'}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return {"status": done.returncode, "lines": done.stdout.splitlines(), "errors": done.stderr}

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, kind: str = JSON, *, token: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Status and body; 0 where no answer came."""
        server = ApiServer(self._access.host, self._access.port, self._access.ca_pem, token or self._access.token)
        try:
            answer = request(server, method, path, body, content_type=kind, timeout_seconds=20)
        except UNANSWERED:
            return 0, {}
        return answer.status, answer.body

    def token(self) -> str:
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
        status, body = self.ask("POST", path, {"spec": {"expirationSeconds": 3600}})
        assert status == 201, body
        return str(body["status"]["token"])

    def until(self, token: str, path: str, wanted: int) -> None:
        """The server learns of new rights by watching, a moment later."""
        until = time.monotonic() + EFFECTIVE_SECONDS
        while self.ask("GET", path, token=token)[0] != wanted:
            assert time.monotonic() < until, f"{path} is not answered with {wanted}"
            time.sleep(0.05)
