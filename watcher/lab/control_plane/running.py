"""What the lab needs of a control plane, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Access:
    """Where the API server is and how to prove both sides' identity."""

    host: str
    port: int
    ca_pem: str
    token: str = field(repr=False)
    """Of an administrator: makes namespaces, touches triggers."""


class ControlPlane(Protocol):
    """A control plane that runs. ``start`` is an asynchronous context manager: ready when entered, gone when left."""

    access: Access
    version: str
    """What ``/version`` answers."""
    serving: tuple[Path, Path]
    """PEM files of the API server's certificate chain and its key, on the sandbox's own tmpfs."""

    async def admit(self, namespace: str) -> str:
        """A token for a client that watches the trigger in this namespace, which exists. Raises LabFailure."""

    async def admit_node(self, name: str, address: str) -> str:
        """A token for the kube-proxy of a node of this name and address, which is made. Raises LabFailure."""

    async def ended(self) -> None:
        """Waits until it ends, which it never does of its own accord: then raises ControlPlaneFailure."""
