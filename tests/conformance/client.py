"""The plainest client of an API server: JSON over HTTP/1.1 over verified TLS, with nothing retried or interpreted."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Json = Any
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
EVENT_SECONDS = 30.0
"""How long to wait for an event that must come: a busy machine included."""


@dataclass(frozen=True)
class Address:
    """Where a control plane is and what opens it."""

    host: str
    port: int
    ca_pem: str
    token: str

    @property
    def tls(self) -> ssl.SSLContext:
        """Verifies the certificate against the control plane's own authority."""
        return ssl.create_default_context(cadata=self.ca_pem)


@dataclass(frozen=True)
class Answer:
    """A response; ``body`` is JSON where it was sent as JSON, else text."""

    status: int
    body: Json
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def revision(self) -> int:
        """The resourceVersion of the object or the list."""
        return int(self.body["metadata"]["resourceVersion"])

    @property
    def names(self) -> list[str]:
        """Of a list: ``namespace/name`` of each item, in order."""
        return [f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}" for item in self.body["items"]]

    @property
    def verdict(self) -> Json:
        """What a client decides by: the status alone, or of a failure its code, reason, details and causes' kinds."""
        if self.status < 400:
            return self.status
        found: dict[str, Any] = {"status": self.status}
        if isinstance(self.body, dict) and self.body.get("kind") == "Status":
            details = self.body.get("details", {})
            causes = [{"reason": c.get("reason"), "field": c.get("field")} for c in details.get("causes", [])]
            found |= {"code": self.body["code"], "reason": self.body.get("reason")}
            found |= {key: details[key] for key in ("name", "kind", "retryAfterSeconds") if key in details}
            found |= {"causes": causes} if causes else {}
        return found


def _read(media: str, text: bytes) -> Json:
    try:
        return json.loads(text) if media == "application/json" else text.decode(errors="replace")
    except ValueError:
        return text.decode(errors="replace")  # a stream of objects


class Watch:
    """A watch under way."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers = dict(response.headers)
        connection = response.connection
        name = connection.transport.get_extra_info("sockname") if connection and connection.transport else None
        self.local_port: int | None = name[1] if name else None
        """Of the connection it came by."""
        self._response = response
        self._buffer = b""

    async def next(self, seconds: float | None = None) -> Json | None:
        """The next event; None when the response has ended with its last chunk.

        Raises TimeoutError, and aiohttp's ClientPayloadError where the response was cut short.
        """
        async with asyncio.timeout(seconds or EVENT_SECONDS):
            while b"\n" not in self._buffer:
                chunk = await self._response.content.readany()
                if not chunk:
                    assert not self._buffer, f"the response ended in the middle of a line: {self._buffer!r}"
                    return None
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def take(self, count: int) -> list[Json]:
        """That many events, or fewer when it ends before."""
        events: list[Json] = []
        while len(events) < count and (event := await self.next()) is not None:
            events.append(event)
        return events

    async def until(self, last: Callable[[Json], bool], seconds: float | None = None) -> list[Json]:
        """All events up to the one that is the ``last``, or to the end."""
        events: list[Json] = []
        async with asyncio.timeout(seconds or EVENT_SECONDS):
            while (event := await self.next(seconds)) is not None:
                events.append(event)
                if last(event):
                    break
        return events

    async def rest(self, seconds: float | None = None) -> list[Json]:
        return await self.until(lambda _: False, seconds)


class Api:
    """Requests to one control plane over one pool of connections."""

    def __init__(self, session: aiohttp.ClientSession, address: Address) -> None:
        self.address = address
        self._session = session
        self._url = f"https://{address.host}:{address.port}"

    @classmethod
    @asynccontextmanager
    async def connect(cls, address: Address, *, connections: int = 100) -> AsyncIterator[Api]:
        connector = aiohttp.TCPConnector(ssl=address.tls, limit=connections)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=True) as session:
            yield cls(session, address)

    async def request(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
        token: str | None = None,
    ) -> Answer:
        """``raw`` is a body as it stands; a ``token`` of "" sends none."""
        token = self.address.token if token is None else token
        sent = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = raw if body is None else json.dumps(body).encode()
        if data is not None:
            sent |= {"Content-Type": "application/json"}
        sent |= headers or {}
        async with self._session.request(
            method,
            self._url + path,
            data=None if data is None else io.BytesIO(data),
            params=query,
            headers=sent,
            timeout=aiohttp.ClientTimeout(EVENT_SECONDS),
        ) as response:
            text = await response.read()
            return Answer(response.status, _read(response.content_type, text), dict(response.headers))

    async def get(self, path: str, **query: str) -> Answer:
        return await self.request("GET", path, query=query)

    async def create(self, path: str, body: Json) -> Answer:
        return await self.request("POST", path, body)

    async def put(self, path: str, body: Json) -> Answer:
        return await self.request("PUT", path, body)

    async def patch(self, path: str, body: Json, kind: str = MERGE_PATCH) -> Answer:
        return await self.request("PATCH", path, body, headers={"Content-Type": kind})

    async def delete(self, path: str, body: Json = None) -> Answer:
        return await self.request("DELETE", path, body)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[Watch]:
        """Entered when the response's headers have come."""
        async with self._session.get(
            self._url + path,
            params={"watch": "true"} | query,
            headers={"Accept": "application/json", "Authorization": f"Bearer {self.address.token}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_read=None),
        ) as response:
            yield Watch(response)

    async def changes(self, path: str, **query: str) -> list[Json]:
        """All events of a watch of one second."""
        async with self.watch(path, timeoutSeconds="1", **query) as watch:
            return await watch.rest()
