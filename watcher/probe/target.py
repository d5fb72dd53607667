"""What a probed program watches: a trigger of its own on the embedded control plane, on loopback."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from watcher.lab.control_plane.listeners import Listener
from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES
from watcher.lab.control_plane.server import Server, serve

TRIGGER = "trigger"
ANOTHER = "another"
"""A ConfigMap beside it that is nobody's business."""
_LOOPBACK = "127.0.0.1"


class Target:
    """A control plane with room for any number of programs that do not see each other's triggers."""

    def __init__(self, server: Server, address: str) -> None:
        self._server = server
        self._address = address
        self._namespaces = 0

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[Target]:
        """It offers HTTP/1.1 alone, so that a client that prefers HTTP/2 speaks that, too."""
        async with serve((Listener(_LOOPBACK, http1_only=True),)) as server:
            yield cls(server, server.addresses[0])

    def make_namespace(self) -> str:
        """With a trigger, and another ConfigMap."""
        self._namespaces += 1
        namespace = f"probe-{self._namespaces}"
        store = self._server.store
        store.create(NAMESPACES, "", {"metadata": {"name": namespace}})
        for name in (TRIGGER, ANOTHER):
            store.create(CONFIG_MAPS, namespace, {"metadata": {"name": name}, "data": {"nonce": secrets.token_hex(8)}})
        return namespace

    def touch(self, namespace: str, name: str = TRIGGER) -> str:
        """Returns the fresh nonce."""
        nonce = secrets.token_hex(8)
        self._server.store.patch(CONFIG_MAPS, namespace, name, {"data": {"nonce": nonce}})
        return nonce

    def kubeconfig(self, folder: Path, address: str | None = None) -> Path:
        """A file in ``folder``, which is made, as the lab writes it: JSON, the authority in a file beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        authority = folder / "ca.crt"
        authority.write_text(self._server.ca_pem)
        cluster = {"server": f"https://{address or self._address}", "certificate-authority": str(authority)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "probe",
            "contexts": [{"name": "probe", "context": {"cluster": "probe", "user": "probe"}}],
            "clusters": [{"name": "probe", "cluster": cluster}],
            "users": [{"name": "probe", "user": {"token": self._server.token}}],
        }
        file = folder / "kubeconfig"
        file.write_text(json.dumps(content))
        return file
