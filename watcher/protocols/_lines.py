"""What the protocols of ``watcher.servers`` share: a line of text ends with the client's current nonce."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from watcher.errors import LabFailure
from watcher.lab.addresses import API_ADDRESS, Server
from watcher.lab.own_served import OwnServed
from watcher.lab.scene import OwnServer
from watcher.lab.served import Served
from watcher.plan import SETTLE_SECONDS
from watcher.programs.probe import ProbeResult
from watcher.protocols import Tenant
from watcher.records import ProbedTo
from watcher.updater import Published

LEAST_PERIOD_SECONDS = 2.5 * SETTLE_SECONDS
"""Between two lines, in real time: the flow must fall quiet between them, or L0 could not be told."""


class LineService:
    """The server in the cluster's namespace, whose clients are told apart by their addresses."""

    pulls = False

    def __init__(
        self,
        served: Served,
        port: int,
        *,
        says: bytes = b"",
        more: Mapping[str, str] | None = None,
        own: Callable[[int, Server, bool], AbstractAsyncContextManager[OwnServer]] | None = None,
    ) -> None:
        """``says``: what a probe sends to get an answer. ``more``: variables beside the address.

        ``own`` starts one of a scenario's own: its number, the shared one, and whether it needs a Service.
        """
        self._shared = Server(API_ADDRESS, port, introduced=True)
        self.server: Server | None = self._shared
        self._served = served
        self._own = own
        self._says = says
        self._more = dict(more or {})

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        return {"WATCHER_ADDRESS": f"{tenant.virtual.address}:{tenant.virtual.port}", **self._more}

    async def publish(self, tenant: Tenant, nonce: str) -> Published:
        """To the scenario's own server, too, while it lives: a client may be connected to either."""
        sent = time.monotonic()
        try:
            if isinstance(tenant.own, OwnServed) and tenant.own.served.running:
                await tenant.own.served.give(tenant.client_address, nonce)
            number = await self._served.give(tenant.client_address, nonce)
        except (OSError, json.JSONDecodeError) as error:
            return Published(sent=sent, error=f"{type(error).__name__}: {error}")
        return Published(sent=sent, answered=time.monotonic(), status=200, resource_version=str(number))

    def own_server(self, number: int, *, service: bool) -> AbstractAsyncContextManager[OwnServer]:
        if self._own is None:
            raise LabFailure(f"{self._served.name} has no second one that could take over")
        return self._own(number, self._shared, service)

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


def too_fast(period_seconds: float, scale: float) -> str | None:
    """Why a line every so many (true) seconds cannot be told apart at this scale."""
    period = period_seconds / scale
    if period >= LEAST_PERIOD_SECONDS:
        return None
    return (
        f"not scalable: a line every {period_seconds:g} s is one every {period:.2g} s at scale {scale:g},"
        f" and the lab needs {LEAST_PERIOD_SECONDS:.2g} s between two"
    )
