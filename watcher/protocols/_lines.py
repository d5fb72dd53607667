"""What the protocols of ``watcher.servers`` share: a line of text ends with the client's current nonce."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from watcher.errors import LabFailure
from watcher.lab.addresses import API_ADDRESS, Server
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.own_served import OwnServed
from watcher.lab.scene import OwnServer
from watcher.lab.served import Served
from watcher.plan import SETTLE_SECONDS
from watcher.programs.probe import ProbeResult
from watcher.protocols import Stage, Tenant
from watcher.records import ProbedTo
from watcher.updater import Published

LEAST_PERIOD_SECONDS = 2.5 * SETTLE_SECONDS
"""Between two lines, in real time: the flow must fall quiet between them, or L0 could not be told."""


@dataclass(frozen=True)
class Speech:
    """One of the servers, as it is started."""

    name: str
    """In files, and to whoever reads an error."""
    port: int
    arguments: tuple[str, ...]
    """Of ``watcher serve``, but for the address."""
    probe: bytes = b""
    """What a probe sends to get an answer."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """For programs, beside the address."""


class LineService:
    """The server in the cluster's namespace, whose clients are told apart by their addresses."""

    pulls = False

    def __init__(self, stage: Stage, served: Served, speech: Speech) -> None:
        self._shared = Server(API_ADDRESS, speech.port, introduced=True)
        self.server: Server | None = self._shared
        self._stage = stage
        self._served = served
        self._speech = speech

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        return {"WATCHER_ADDRESS": f"{tenant.virtual.address}:{tenant.virtual.port}", **self._speech.variables}

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
        stage, control_plane = self._stage, self._stage.control_plane
        if not isinstance(control_plane, KubernetesControlPlane):
            raise LabFailure("servers of scenarios' own need the real control plane")
        return OwnServed.start(
            number,
            stage.cluster,
            self._speech.name,
            self._speech.arguments,
            shared=self._shared,
            control_plane=control_plane,
            folder=stage.folder,
            scratch=stage.scratch,
            service=service,
        )

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
                raw.sendall(self._speech.probe)
                said = raw.recv(512)
            except OSError as error:
                return ProbeResult(False, time.monotonic() - began, own, f"{type(error).__name__}: {error}")
        return ProbeResult(bool(said), time.monotonic() - began, own, None if said else "it was closed without a word")


@asynccontextmanager
async def speaking(stage: Stage, speech: Speech) -> AsyncIterator[LineService]:
    """The server in the cluster's namespace. Raises LabFailure, naming its log."""
    arguments = (*speech.arguments, "--address", API_ADDRESS, "--proxy", API_ADDRESS)
    async with Served.start(
        speech.name, arguments, namespace=stage.cluster, folder=stage.folder, scratch=stage.scratch
    ) as served:
        yield LineService(stage, served, speech)


def too_fast(period_seconds: float, scale: float) -> str | None:
    """Why a line every so many (true) seconds cannot be told apart at this scale."""
    period = period_seconds / scale
    if period >= LEAST_PERIOD_SECONDS:
        return None
    return (
        f"not scalable: a line every {period_seconds:g} s is one every {period:.2g} s at scale {scale:g},"
        f" and the lab needs {LEAST_PERIOD_SECONDS:.2g} s between two"
    )
