"""Stores with a fixed clock, running servers, and a small client for them. Loopback only."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from watcher.lab.control_plane.server import Server, serve
from watcher.lab.control_plane.store import Store

MERGE_PATCH = "application/merge-patch+json"


def make_store(history_limit: int = 1000) -> Store:
    numbers = itertools.count(1)
    return Store(now=lambda: "2026-01-02T03:04:05Z", uid=lambda: f"uid-{next(numbers)}", history_limit=history_limit)


def config_map(name: str = "trigger", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


@pytest.fixture
def store() -> Store:
    return make_store()


class Reports(list[dict[str, object]]):
    """What a server told the outside."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def add(self, report: dict[str, object]) -> None:
        self.append(report)
        self._more.set()

    async def of(self, event: str, count: int) -> list[dict[str, object]]:
        """All of that event, when there are ``count`` of them or more."""
        async with asyncio.timeout(60):
            while len(found := [report for report in self if report["event"] == event]) < count:
                self._more.clear()
                await self._more.wait()
        return found


@dataclass
class Client:
    """Talks to one server."""

    server: Server
    session: aiohttp.ClientSession
    reports: Reports

    async def ask(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": content_type, **headers} if data is not None else headers
        async with self.session.request(method, self.server.url + path, data=data, headers=sent) as response:
            return response.status, await response.json()

    async def create(self, name: str = "trigger", **data: str) -> dict[str, Any]:
        status, created = await self.ask("POST", "/api/v1/namespaces/default/configmaps", config_map(name, **data))
        assert status == 201, created
        return created

    async def touch(self, nonce: str, name: str = "trigger") -> dict[str, Any]:
        path = f"/api/v1/namespaces/default/configmaps/{name}"
        status, touched = await self.ask("PATCH", path, {"data": {"nonce": nonce}}, content_type=MERGE_PATCH)
        assert status == 200, touched
        return touched

    def watch(self, query: str) -> aiohttp.client._RequestContextManager:
        return self.session.get(f"{self.server.url}/api/v1/namespaces/default/configmaps?watch=true&{query}")


async def events(response: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    """The next ``count`` events of a watch."""
    return [json.loads(await response.content.readline()) for _ in range(count)]


def trust(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=server.ca_pem)


Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers with the settings given to it."""
    async with AsyncExitStack() as stack:

        async def begin(**settings: Any) -> Client:
            reports = Reports()
            server = await stack.enter_async_context(serve(report=reports.add, **settings))
            session = await stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=trust(server)),
                    headers={"Authorization": f"Bearer {server.token}"},
                    timeout=aiohttp.ClientTimeout(total=60),
                    read_bufsize=2**22,
                )
            )
            return Client(server, session, reports)

        yield begin
