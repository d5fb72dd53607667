"""A server that accepts and never answers: its kernel does all that TCP asks for, and nobody reads what comes."""

from __future__ import annotations

import socket

from watcher.lab.namespace import Namespace

_MOST_WAITING = 4096
"""Connections that the kernel accepts for a program that never fetches them; its own limit is as much."""


class MuteServer:
    """Listens in a namespace that owns the address, once it is told to. Blocks for a moment: meant for a thread."""

    def __init__(self, namespace: Namespace, address: str, port: int) -> None:
        self._namespace = namespace
        self._place = (address, port)
        self._listening: socket.socket | None = None

    def listen(self) -> None:
        """From now on accepts what reaches it. Connections stay open, and acknowledged, until ``close``."""
        if self._listening is None:
            self._listening = self._namespace.enter(lambda: socket.create_server(self._place, backlog=_MOST_WAITING))

    def close(self) -> None:
        """Ends all of its connections; harmless where it never listened."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
