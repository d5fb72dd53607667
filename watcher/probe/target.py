"""What a probed program watches: a trigger of its own, here on the embedded control plane."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from watcher.lab.control_plane.listeners import Listener
from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES
from watcher.lab.control_plane.server import Server, serve

TRIGGER = "trigger"
ANOTHER = "another"
"""A ConfigMap beside it that is nobody's business."""
_LOOPBACK = "127.0.0.1"


class Target(Protocol):
    """A control plane with room for any number of programs that do not see each other's triggers."""

    control_plane: str
    """In words."""
    network: Path | None
    """The network namespace that programs run in; None is the present one."""

    async def make_namespace(self) -> str:
        """With a trigger, and another ConfigMap."""

    async def touch(self, namespace: str, name: str = TRIGGER) -> str:
        """Returns the fresh nonce."""

    def kubeconfig(self, namespace: str, folder: Path, address: str | None = None) -> Path:
        """A file in ``folder``, which is made. ``address`` is where it leads instead of the control plane."""

    def listen(self) -> socket.socket:
        """A listening socket where programs reach it."""


class EmbeddedTarget:
    """On loopback. It offers HTTP/1.1 alone, so that a client that prefers HTTP/2 speaks that, too."""

    control_plane = "embedded, HTTP/1.1, on loopback"
    network: Path | None = None

    def __init__(self, server: Server) -> None:
        self._server = server
        self._namespaces = 0

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[EmbeddedTarget]:
        async with serve((Listener(_LOOPBACK, http1_only=True),)) as server:
            yield cls(server)

    async def make_namespace(self) -> str:
        self._namespaces += 1
        namespace = f"probe-{self._namespaces}"
        store = self._server.store
        store.create(NAMESPACES, "", {"metadata": {"name": namespace}})
        for name in (TRIGGER, ANOTHER):
            store.create(CONFIG_MAPS, namespace, {"metadata": {"name": name}, "data": {"nonce": secrets.token_hex(8)}})
        return namespace

    async def touch(self, namespace: str, name: str = TRIGGER) -> str:
        nonce = secrets.token_hex(8)
        self._server.store.patch(CONFIG_MAPS, namespace, name, {"data": {"nonce": nonce}})
        return nonce

    def kubeconfig(self, namespace: str, folder: Path, address: str | None = None) -> Path:  # noqa: ARG002
        server = self._server
        return kubeconfig_file(folder, address or server.addresses[0], server.ca_pem, server.token)

    def listen(self) -> socket.socket:
        return listening(_LOOPBACK)


def listening(address: str) -> socket.socket:
    """Of a port that the kernel chooses."""
    made = socket.socket()
    made.bind((address, 0))
    made.listen(1024)
    return made


def kubeconfig_file(folder: Path, address: str, ca_pem: str, token: str) -> Path:
    """As the lab writes it: JSON, the authority in a file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = folder / "ca.crt"
    authority.write_text(ca_pem)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "probe",
        "contexts": [{"name": "probe", "context": {"cluster": "probe", "user": "probe"}}],
        "clusters": [
            {"name": "probe", "cluster": {"server": f"https://{address}", "certificate-authority": str(authority)}}
        ],
        "users": [{"name": "probe", "user": {"token": token}}],
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(content))
    return file
