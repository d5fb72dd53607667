"""How a value is published, and to whom a client must be connected to observe it. One module a protocol.

Everything else is the same for all: paths, faults, proofs, judge, results. What a client observes is a nonce.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from watcher.api import ApiServer
from watcher.errors import UnknownName, UsageError
from watcher.lab.addresses import Server
from watcher.lab.control_plane.running import ControlPlane
from watcher.lab.namespace import Namespace
from watcher.lab.path import Emit
from watcher.lab.scene import OwnServer
from watcher.model import Backend, Balancer, Introduction, Scenario, ServerKeepalive, Stack
from watcher.model import Path as ScenarioPath
from watcher.programs.environments.together import Wanted
from watcher.programs.probe import ProbeResult
from watcher.records import ProbedTo
from watcher.updater import Published, Trigger, Updater


@dataclass(frozen=True)
class Stage:
    """What a protocol's server finds when it is started."""

    cluster: Namespace
    folder: Path
    """The run's, for logs."""
    scratch: Path
    """On the sandbox's own tmpfs, for what must not outlive it."""
    scale: float
    api: ApiServer
    control_plane: ControlPlane
    updater: Updater
    emit: Emit
    variant: str = ""
    """The stack's ``variant``."""


@dataclass(frozen=True)
class Tenant:
    """One cell at a service."""

    cell: str
    trigger: Trigger
    scratch: Path
    """The cell's own folder on tmpfs."""
    virtual: Server
    """What the client connects to."""
    client_address: str = ""
    """Where it connects from: nothing on its way replaces that."""
    own: OwnServer | None = None
    """What it is connected to at first, where that is not the stage's server."""


class Service(Protocol):
    """One protocol's server, running for a stage."""

    server: Server | None
    """Where paths lead; None is the API server."""

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        """Makes what the cell needs, beside its namespace, which exists. Raises LabFailure.

        Returns the variables that its program finds it by.
        """

    async def publish(self, tenant: Tenant, nonce: str) -> Published:
        """Gives the nonce to the server, over a connection that crosses no path. Never raises for the network."""

    def own_server(self, number: int, *, service: bool, deaf: bool) -> AbstractAsyncContextManager[OwnServer]:
        """One more server, of a scenario's own, which ``server`` takes over from; ready when entered, gone when left.

        ``service``: kube-proxies lead to it by a Service of its own. ``deaf``: it ignores SIGTERM, where it can be told
        to; ``OwnServer.deaf`` says whether it does. Raises LabFailure.
        """

    def probe(self, tenant: Tenant, to: ProbedTo, seconds: float, *, since: str) -> ProbeResult:
        """A fresh connection, in the namespace of its thread; blocks. ``since``: the version of the control touch."""


class Module(Protocol):
    """What every module of this package offers."""

    def start(self, stage: Stage) -> AbstractAsyncContextManager[Service]:
        """Ready when entered, gone when left. Raises LabUnavailable, LabFailure."""

    def missing(self) -> str | None:
        """Why this machine cannot have it; None where it can."""

    def unfit(self, stack: Stack, scenario: Scenario, path: ScenarioPath, scale: float) -> str | None:
        """Why a cell of this stack cannot be decided in this scenario; None where it can.

        Raises UsageError where the stack names a variant that there is not.
        """


def names() -> list[str]:
    """Every protocol there is, by its name in a manifest."""
    return sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not (module.ispkg or module.name.startswith("_"))
    )


def load(name: str) -> Module:
    """The protocol of that name. Raises UnknownName."""
    if name not in names():
        raise UnknownName("protocol", name, names())
    return cast(Module, importlib.import_module(f"{__name__}.{name}"))


def check_variant(stack: Stack, variants: Collection[str] = ("",)) -> None:
    """Raises UsageError where the stack names a variant of its protocol's server that there is not."""
    if (stack.variant or "") not in variants:
        known = ", ".join(variant or "none" for variant in variants)
        raise UsageError(
            f"stack {stack.name}: protocol {stack.protocol} has no variant {stack.variant!r}",
            advice=f"`variant` in its manifest: {known}",
        )


def unfit_beside(scenario: Scenario, path: ScenarioPath) -> str | None:
    """Why a server beside the API server, without TCP keepalive, has no part in this scenario; None where it has."""
    if "history-gone" in (*scenario.proof.before, *scenario.proof.after):
        return "its server keeps no history that could be lost"
    if path.idle_timeout_seconds is not None:
        keepalive = scenario.server_keepalive or path.server_keepalive
        return None if keepalive is ServerKeepalive.OFF else "its server sends no TCP keepalive"
    if path.balancer is not Balancer.LAB and scenario.backend is Backend.SHARED:
        return "kube-proxy leads to the API server only, where the scenario has no backend of its own"
    return None


def build(name: str) -> Wanted | None:
    """What is built for that protocol's server, as a client's environment is; its module's ``BUILD``, if it has one."""
    wanted = getattr(load(name), "BUILD", None)
    assert wanted is None or isinstance(wanted, Wanted)
    return wanted


def introduction(spoken: Collection[str]) -> Introduction:
    """How a page introduces a run: the protocol's ``INTRODUCTION`` where all speak one that has it, else their names.

    A run of the past may have spoken one that there is no more.
    """
    if len(spoken) == 1 and (own := next(iter(spoken))) in names():
        told = getattr(load(own), "INTRODUCTION", None)
        if isinstance(told, Introduction):
            return told
    general = Introduction()
    listed = f" ({', '.join(sorted(spoken))})" if spoken else ""
    return general.model_copy(update={"clients_do": general.clients_do + listed})
