"""The embedded control plane as the soak's writers see it, and a seam that answers in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from watcher.api import Answer, ApiServer, request
from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES
from watcher.lab.control_plane.server import Server, serve

NAMESPACE = "watcher"

Reply = Callable[[str, str], int | Exception | None]
"""Given method and path: the status to answer with, what to raise, or None to let the request through."""


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """An API server with the soak's namespace."""
    async with serve() as server:
        server.store.create(NAMESPACES, "", {"metadata": {"name": NAMESPACE}})
        yield server


def api_of(server: Server) -> ApiServer:
    host, _, port = server.addresses[0].rpartition(":")
    return ApiServer(host=host, port=int(port), ca_pem=server.ca_pem, token=server.token)


def objects(server: Server, prefix: str = "") -> dict[str, dict[str, Any]]:
    return {
        version.name: version.value
        for version in server.store.versions(CONFIG_MAPS)
        if version.namespace == NAMESPACE and version.name.startswith(prefix)
    }


def data(server: Server, prefix: str = "") -> dict[str, dict[str, str]]:
    return {name: value.get("data", {}) for name, value in objects(server, prefix).items()}


def put(server: Server, name: str, content: dict[str, str], labels: dict[str, str] | None = None) -> None:
    body = {"metadata": {"name": name, "labels": labels or {}}, "data": content}
    server.store.create(CONFIG_MAPS, NAMESPACE, body)


class Seam:
    """Stands where ``request`` is imported; remembers what was asked, and answers as ``reply`` says."""

    def __init__(self, reply: Reply = lambda _method, _path: None) -> None:
        self.reply = reply
        self.after: Reply = lambda _method, _path: None
        """The same, but the request has been done: its answer is lost."""
        self.asked: list[tuple[str, str]] = []

    def __call__(self, api: ApiServer, method: str, path: str, *arguments: Any, **keywords: Any) -> Answer:
        self.asked.append((method, path))
        if (early := self._made(self.reply(method, path))) is not None:
            return early
        answer = request(api, method, path, *arguments, **keywords)
        return self._made(self.after(method, path)) or answer

    @staticmethod
    def _made(reply: int | Exception | None) -> Answer | None:
        if isinstance(reply, Exception):
            raise reply
        return None if reply is None else Answer(reply, {"message": f"answered {reply} by the test"}, 0.0, 0.0)
