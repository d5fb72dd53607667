"""What the protocols of ``watcher.servers`` share: a line of text ends with the client's current nonce."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from watcher.lab.addresses import API_ADDRESS, Server
from watcher.lab.namespace import Namespace
from watcher.lab.scene import OwnServer
from watcher.lab.served import Served
from watcher.plan import SETTLE_SECONDS
from watcher.programs.probe import ProbeResult
from watcher.protocols import Stage, Tenant
from watcher.protocols._beside import Own, own_by, to_both
from watcher.records import ProbedTo
from watcher.updater import Published

LEAST_PERIOD_SECONDS = 2.5 * SETTLE_SECONDS
"""Between two lines, in real time: the flow must fall quiet between them, or L0 could not be told."""


class LineService:
    """The server in the cluster's namespace, whose clients are told apart by their addresses."""

    def __init__(
        self, served: Served, server: Server, own: Own, *, says: bytes = b"", more: Mapping[str, str] | None = None
    ) -> None:
        """``says``: what a probe sends to get an answer. ``more``: variables beside the address."""
        self.server: Server | None = server
        self._served = served
        self._own = own
        self._says = says
        self._more = dict(more or {})

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        return {"WATCHER_ADDRESS": f"{tenant.virtual.address}:{tenant.virtual.port}", **self._more}

    async def publish(self, tenant: Tenant, nonce: str) -> Published:
        return await to_both(
            tenant.own, lambda own: published(self._served if own is None else own.served, tenant.client_address, nonce)
        )

    def own_server(self, number: int, *, service: bool, deaf: bool) -> AbstractAsyncContextManager[OwnServer]:
        return self._own(number, service=service, deaf=deaf)

    def probe(self, tenant: Tenant, to: ProbedTo, seconds: float, *, since: str) -> ProbeResult:  # noqa: ARG002 - there is no history
        """Whether a line comes back."""
        began = time.monotonic()
        own: int | None = None
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as raw:
            try:
                raw.settimeout(seconds)
                raw.bind(("", 0))
                own = raw.getsockname()[1]
                raw.connect((tenant.virtual.address, tenant.virtual.port))
                raw.settimeout(max(0.1, began + seconds - time.monotonic()))
                raw.sendall(self._says)
                said = raw.recv(512)
            except OSError as error:
                return ProbeResult(False, time.monotonic() - began, own, f"{type(error).__name__}: {error}")
        return ProbeResult(bool(said), time.monotonic() - began, own, None if said else "it was closed without a word")


async def published(served: Served, client: str, nonce: str) -> Published:
    """Gives it to this server. Never raises for the network."""
    sent = time.monotonic()
    try:
        number = await served.give(client, nonce)
    except (OSError, json.JSONDecodeError) as error:
        return Published(sent=sent, error=f"{type(error).__name__}: {error}")
    return Published(sent=sent, answered=time.monotonic(), status=200, resource_version=str(number))


@asynccontextmanager
async def serving(
    stage: Stage,
    name: str,
    port: int,
    arguments: Sequence[str],
    *,
    says: bytes = b"",
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[LineService]:
    """``arguments`` are those of ``watcher serve``, but for the address. ``says``, ``more``: see ``LineService``."""
    # A proxy between says whose connection it is: clients are told apart by their addresses.
    at = Server(API_ADDRESS, port, introduced=True)

    def serve(namespace: Namespace, server: Server, suffix: str, *more: str) -> AbstractAsyncContextManager[Served]:
        return Served.start(
            name + suffix,
            (*arguments, *more, "--address", server.address, "--proxy", API_ADDRESS),
            namespace=namespace,
            folder=stage.folder,
            scratch=stage.scratch,
        )

    def serve_deaf(namespace: Namespace, server: Server, suffix: str) -> AbstractAsyncContextManager[Served]:
        return serve(namespace, server, suffix, "--ignore-sigterm")

    async with serve(stage.cluster, at, "") as served:
        yield LineService(served, at, own_by(stage, at, serve, serve_deaf=serve_deaf), says=says, more=more)


def too_fast(period_seconds: float, scale: float) -> str | None:
    """Why a line every so many (true) seconds cannot be told apart at this scale."""
    period = period_seconds / scale
    if period >= LEAST_PERIOD_SECONDS:
        return None
    return (
        f"not scalable: a line every {period_seconds:g} s is one every {period:.2g} s at scale {scale:g},"
        f" and the lab needs {LEAST_PERIOD_SECONDS:.2g} s between two"
    )
