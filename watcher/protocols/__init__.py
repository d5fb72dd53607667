"""How a value is published, and to whom a client must be connected to observe it. One module a protocol.

Everything else is the same for all: paths, faults, proofs, judge, results. What a client observes is a nonce.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from watcher.api import ApiServer
from watcher.errors import UnknownName
from watcher.lab.addresses import Server
from watcher.lab.control_plane.running import ControlPlane
from watcher.lab.namespace import Namespace
from watcher.lab.path import Emit
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


@dataclass(frozen=True)
class Tenant:
    """One cell at a service."""

    cell: str
    trigger: Trigger
    scratch: Path
    """The cell's own folder on tmpfs."""
    virtual: Server
    """What the client connects to."""


class Service(Protocol):
    """One protocol's server, running for a stage."""

    server: Server | None
    """Where paths lead; None is the API server."""

    async def admit(self, tenant: Tenant) -> Mapping[str, str]:
        """Makes what the cell needs, beside its namespace, which exists; returns the variables that its program finds it
        by. Raises LabFailure.
        """

    async def publish(self, tenant: Tenant, nonce: str) -> Published:
        """Gives the nonce to the server, over a connection that crosses no path. Never raises for the network."""

    def probe(self, tenant: Tenant, to: ProbedTo, seconds: float, *, since: str) -> ProbeResult:
        """A fresh connection, in the namespace of its thread; blocks. ``since``: the version of the control touch."""


class Module(Protocol):
    """What every module of this package offers."""

    def start(self, stage: Stage) -> AbstractAsyncContextManager[Service]:
        """Ready when entered, gone when left. Raises LabUnavailable, LabFailure."""

    def missing(self) -> str | None:
        """Why this machine cannot have it; None where it can."""


def names() -> list[str]:
    """Every protocol there is, by its name in a manifest."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def load(name: str) -> Module:
    """The protocol of that name. Raises UnknownName."""
    if name not in names():
        raise UnknownName("protocol", name, names())
    return cast(Module, importlib.import_module(f"{__name__}.{name}"))


def build(name: str) -> Wanted | None:
    """What is built for that protocol's server, as a client's environment is; its module's ``BUILD``, if it has one."""
    wanted = getattr(load(name), "BUILD", None)
    assert wanted is None or isinstance(wanted, Wanted)
    return wanted


def leads_elsewhere(name: str) -> bool:
    """Whether its clients talk to a server of its own, so that what stands before the API server is nothing to them."""
    return bool(getattr(load(name), "OWN_SERVER", False))
