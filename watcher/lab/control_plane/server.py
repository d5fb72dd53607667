"""The embedded control plane as an object: ``async with serve(...)`` runs one inside the present event loop."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet

from aiohttp import web

from watcher.lab.control_plane.listeners import Gate, Listener, tls
from watcher.lab.control_plane.routes import Api, Report
from watcher.lab.control_plane.store import Store
from watcher.lab.control_plane.watches import Timers, Watches

_LAST_WORDS_SECONDS = 0.5
"""How long requests under way and closing handshakes may take when the server ends."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running control plane."""

    addresses: tuple[str, ...]
    """``host:port`` of each listener, in their order."""
    token: str
    ca_pem: str
    """Empty where the certificate was given from outside."""
    store: Store
    watches: Watches

    @property
    def url(self) -> str:
        return f"https://{self.addresses[0]}"


def new_store(history_limit: int) -> Store:
    return Store(
        now=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        uid=lambda: str(uuid.uuid4()),
        history_limit=history_limit,
    )


def _ignore(_what: dict[str, object]) -> None:
    return None


@asynccontextmanager
async def serve(
    listeners: Sequence[Listener] = (Listener("127.0.0.1"),),
    *,
    token: str | None = None,
    certificate: tuple[Path, Path] | None = None,
    timers: Timers | None = None,
    history_limit: int = 1000,
    watch_limit: int = 1000,
    report: Report = _ignore,
) -> AsyncIterator[Server]:
    """Serves until the block ends; then watches get their last chunk and all connections are closed.

    ``certificate`` is PEM files of a certificate chain and its key; without one, an authority is made for the
    listeners' addresses. ``history_limit`` and ``watch_limit`` are in changes. Raises ``OSError`` where a listener
    cannot be opened.
    """
    timers = timers or Timers()
    token = token or secrets.token_urlsafe(32)
    ca_pem = ""
    with tempfile.TemporaryDirectory() as folder:
        if certificate is None:
            from watcher.lab.control_plane.certificates import Authority  # a process that is given one need not load it

            authority = Authority.make()
            ca_pem = authority.ca_pem
            certificate = Path(folder) / "serving.crt", Path(folder) / "serving.key"
            authority.issue([listener.address for listener in listeners], *certificate)
        contexts = [tls(*certificate, http1_only=listener.http1_only) for listener in listeners]
    store = new_store(history_limit)
    api = Api(store, token=token, timers=timers, watch_limit=watch_limit, report=report)
    runner = web.AppRunner(
        api.application(),
        access_log=None,
        handler_cancellation=True,  # or a quiet watch would outlive its client
        tcp_keepalive=False,  # or aiohttp would switch on what a listener has off
        keepalive_timeout=timers.idle_timeout_seconds,
        shutdown_timeout=_LAST_WORDS_SECONDS,
    )
    await runner.setup()
    http = runner.server
    assert http is not None

    def refused(address: str, port: int) -> None:
        report({"event": "unserved", "peer": address, "port": port, "what": "HTTP/2"})

    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    streams: WeakSet[asyncio.Transport] = WeakSet()
    try:
        for listener, context in zip(listeners, contexts, strict=True):
            listening = listener.open()
            try:
                servers.append(
                    await loop.create_server(
                        lambda: Gate(http, refused, streams),
                        sock=listening,
                        ssl=context,
                        backlog=1024,
                        ssl_shutdown_timeout=_LAST_WORDS_SECONDS,
                    )
                )
            except BaseException:
                listening.close()
                raise
        addresses = tuple(_text(server.sockets[0].getsockname()) for server in servers)
        yield Server(addresses, token, ca_pem, store, api.watches)
    finally:
        for server in servers:
            server.close()
        api.watches.close()
        await runner.cleanup()
        # All has been said; a client that has not answered the end of TLS yet may never do so.
        for stream in tuple(streams):
            stream.abort()
        for _ in range(2):  # until the loop has closed their sockets
            await asyncio.sleep(0)


def _text(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
