"""What a fault may act on: the cell's path, the client's processes, the server behind the path."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from watcher.lab.addresses import Server
from watcher.lab.names import Names
from watcher.lab.namespace import Namespace
from watcher.lab.path import LabPath
from watcher.model import Balancer


class OwnServer(Protocol):
    """A server of a scenario's own, beside the shared one of its protocol. All of the scenario's cells share it.

    Every method blocks, is meant for a thread, does its work once, however many call it, and raises LabFailure where
    it cannot.
    """

    server: Server
    namespace: Namespace
    """Where it lives: its kernel's word on its clients' connections."""
    deaf: bool
    """Whether it ignores SIGTERM."""

    def honours(self, namespace: str) -> None:
        """Returns when it lets the cell of this namespace read its trigger, as the shared one does already."""

    def signal(self, number: signal.Signals) -> None:
        """To the server's process; harmless when it has ended."""

    def ended(self, within_seconds: float) -> None:
        """Returns when its process has ended."""

    def vanish(self, answer: Literal["silence", "unreachable"]) -> None:
        """Its address is nobody's any more: packets to it get this answer, its own get nowhere. Then it is killed."""

    def move_endpoint(self) -> None:
        """Its Service leads to the shared server from now on; kube-proxy has heard of it when this returns."""

    def start_anew(self) -> Server:
        """Changes are made to the cluster, then another is started beside it, which knows nothing of the time before.
        Returns where that one is, ready; the first goes on.
        """


class Proxy(Protocol):
    """The layer-4 proxy behind the path. Blocks, as above."""

    def close(self, client_address: str) -> None:
        """Closes the client's connections, both sides, with FIN."""


@dataclass(frozen=True)
class Scene:
    """One cell's. Blocking methods are meant for a thread."""

    path: LabPath
    cluster: Namespace
    """Where the API server is, and the router to scenarios' own."""
    shared: Server
    """The API server of all cells, which takes over from a scenario's own."""
    pids: Callable[[], tuple[int, ...]] = tuple
    """The client's processes that live."""
    own: OwnServer | None = None
    names: Names | None = None
    """Where the client connects by name, to a server's own address."""
    proxy: Proxy | None = None
    forgetful: Server | None = None
    """An API server that refuses whatever history there was before the client came to it."""

    def take_over(self) -> None:
        """New connections go to the shared API server from now on; those that exist stay where they are."""
        if self.path.balancer is Balancer.LAB:
            self.path.lead_to(self.shared)
        else:
            assert self.own is not None
            self.own.move_endpoint()
        if self.names is not None:
            self.names.lead_to(self.shared.address)


class Once:
    """Does each named thing once, whoever asks first; the others wait for it, and share its failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[str, BaseException | None] = {}

    def __call__(self, name: str, action: Callable[[], None]) -> None:
        with self._lock:
            if name not in self._done:
                try:
                    action()
                    self._done[name] = None
                except BaseException as error:
                    self._done[name] = error
                    raise
            elif (failed := self._done[name]) is not None:
                raise failed
