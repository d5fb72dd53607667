"""Probes: TLS, ALPN and what becomes of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import aiohttp

from tests.conformance.client import EVENT_SECONDS, Address, Api, Json
from tests.conformance.probe import DIFFERS, Plane, probe
from watcher.lab.control_plane.certificates import Authority


async def _handshake(address: Address, context: ssl.SSLContext, seconds: float = 0.5) -> tuple[Json, bytes]:
    """What was agreed on, or the error's kind; then what the server first says by itself within these seconds."""
    try:
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname=address.host
        )
    except ssl.SSLCertVerificationError:
        return "not trusted", b""
    agreed = writer.get_extra_info("ssl_object")
    said = b""
    try:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                said = await reader.read(1 << 16) or b"closed"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
    return [agreed.version(), agreed.selected_alpn_protocol()], said


def _offering(address: Address, *protocols: str) -> ssl.SSLContext:
    context = address.tls
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@probe(
    {
        "h2 and http/1.1": ["TLSv1.3", "h2"],
        "http/1.1 and h2": ["TLSv1.3", "h2"],
        "http/1.1": ["TLSv1.3", "http/1.1"],
        "none": ["TLSv1.3", None],
        "TLS 1.2": ["TLSv1.2", "h2"],
        "another authority": "not trusted",
    }
)
async def what_the_handshake_agrees_on(plane: Plane) -> Json:
    """Otherwise a client that prefers HTTP/2, as Go's do, is measured as one of HTTP/1.1."""
    address = plane.api.address
    older = _offering(address, "h2")
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    asked = {
        "h2 and http/1.1": _offering(address, "h2", "http/1.1"),
        "http/1.1 and h2": _offering(address, "http/1.1", "h2"),
        "http/1.1": _offering(address, "http/1.1"),
        "none": _offering(address),
        "TLS 1.2": older,
        "another authority": ssl.create_default_context(cadata=Authority.make().ca_pem),
    }
    return {what: (await _handshake(address, context))[0] for what, context in asked.items()}


@probe(DIFFERS)
async def http_2(plane: Plane) -> Json:
    """Otherwise a cell of an HTTP/2 client is judged though nothing of it could be shown."""
    _, said = await _handshake(plane.api.address, _offering(plane.api.address, "h2"), EVENT_SECONDS)
    # A server speaks first: the frame of its settings, whose fourth octet says so.
    return "settings" if len(said) >= 9 and said[3] == 4 else said.decode(errors="replace")


@probe({"requests": [200, 404, 409, 200], "connections": 1}, slow=True)
async def a_connection_that_is_kept(plane: Plane) -> Json:
    """Otherwise each request is a new handshake, and a client's pool is measured empty where it is full."""
    opened = 0  # (no lists: they would wake the real one's cache, and bookmarks with it)

    trace = aiohttp.TraceConfig()

    async def count(*_: object) -> None:
        nonlocal opened
        opened += 1

    trace.on_connection_create_end.append(count)
    address = plane.api.address
    connector = aiohttp.TCPConnector(ssl=address.tls, limit=1, keepalive_timeout=120)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session:
        api = Api(session, address)
        found = [
            (await api.get("/api/v1/namespaces/default")).status,
            (await api.get("/api/v1/namespaces/none")).status,
        ]
        found.append((await api.create("/api/v1/namespaces", {"metadata": {"name": "default"}})).status)
        await asyncio.sleep(plane.pace.idle_seconds)
        found.append((await api.get("/api/v1/namespaces/default")).status)
    return {"requests": found, "connections": opened}
