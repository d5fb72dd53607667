"""etcd as full as its quota allows, and how an administrator heals it: by its own HTTP gateway."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from watcher.rehearsal.cluster import Cluster

QUOTA_OCTETS = 16 << 20
_BALLAST = "ballast"
_OCTETS = 900_000


class _Gateway(http.client.HTTPConnection):
    def __init__(self, place: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._place = place

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._place))


def ask(place: Path, path: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = _Gateway(place)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, (path, answer.status, said)
        found = json.loads(said)
        assert isinstance(found, dict)
        return found
    finally:
        connection.close()


async def fill(cluster: Cluster) -> int:
    """Writes until etcd takes no more; returns how many objects went in."""
    await cluster.administrator.make("/api/v1/namespaces", {"metadata": {"name": _BALLAST}})
    for number in range(200):
        body = {"metadata": {"name": f"ballast-{number}"}, "data": {"x": "x" * _OCTETS}}
        answer = await cluster.administrator.ask("POST", f"/api/v1/namespaces/{_BALLAST}/configmaps", body)
        if answer.status != 201:
            assert "exceeded" in answer.problem, answer.problem
            return number
    raise AssertionError("etcd takes everything")


async def heal(cluster: Cluster, place: Path) -> None:
    """Deletes the ballast, then compacts, defragments and disarms."""
    items = (await cluster.administrator.ask("GET", f"/api/v1/namespaces/{_BALLAST}/configmaps")).body["items"]
    for item in items:
        path = f"/api/v1/namespaces/{_BALLAST}/configmaps/{item['metadata']['name']}"
        answer = await cluster.administrator.ask("DELETE", path)
        assert answer.status == 200, answer.problem
    key = base64.b64encode(b"/").decode()
    revision = ask(place, "/v3/kv/range", {"key": key, "limit": "1"})["header"]["revision"]
    ask(place, "/v3/kv/compaction", {"revision": revision, "physical": True})
    ask(place, "/v3/maintenance/defragment", {})
    for alarm in ask(place, "/v3/maintenance/alarm", {"action": "GET"}).get("alarms", []):
        ask(place, "/v3/maintenance/alarm", {"action": "DEACTIVATE", **alarm})
