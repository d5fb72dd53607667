"""A server's life: its ports are bound or the error says what to do, its connections are counted, SIGTERM ends it."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from watcher.errors import UsageError
from watcher.servers import control
from watcher.servers.connection import SERVER_ENDS, Connection
from watcher.servers.log import Log

MOST_CONNECTIONS = 1000
END_SECONDS = 1.0
"""What a client may take to receive the rest when the server ends."""
_BACKLOG = 128

Make = Callable[[Log, Callable[[Connection], None]], Connection]
"""A connection of one port, given the log and whom to tell of its end."""


@dataclass
class Served:
    """One value for each client address, and the connections that it is told on."""

    log: Log
    most: int = MOST_CONNECTIONS
    proxy: str | None = None
    connections: set[Connection] = field(default_factory=set)
    values: dict[str, control.Value] = field(default_factory=dict)
    """By client address."""

    def of(self, address: str) -> list[Connection]:
        return [connection for connection in self.connections if connection.address == address]

    def accept(self, make: Make) -> asyncio.Protocol:
        """One more connection, or, where there are too many, one that is ended at once."""
        if len(self.connections) >= self.most:
            return _Refused(self.log, self.most)
        connection = make(self.log, self.connections.discard)
        connection.proxy = self.proxy
        self.connections.add(connection)
        return connection


class _Refused(asyncio.Protocol):
    """Nobody is kept waiting without a word: it is closed, and the log says why."""

    def __init__(self, log: Log, most: int) -> None:
        self._log = log
        self._most = most

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._log("refused", reason=f"{self._most} connections are open already, the most that are kept")
        transport.abort()


def bound(address: str, port: int) -> socket.socket:
    """Listens there. Raises UsageError, saying what to do, where that cannot be."""
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"{address} is no address here: {error}", advice="--address 0.0.0.0 is all of IPv4") from error
    family, kind, _, _, place = found[0]
    listening = socket.socket(family, kind)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise UsageError(f"cannot listen on {address} port {port}: {error.strerror}", advice=_advice(error)) from error
    return listening


def _advice(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there: give another port, or end that one (`ss -ltnp` names it)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 are for an administrator: give a higher one"
    return "give --address an address of this machine, or 0.0.0.0 for all"


async def run(
    address: str,
    ports: Sequence[tuple[int, Make]],
    served: Served,
    *,
    changed: Callable[[str], None],
    control_file: Path | None = None,
    ignore_sigterm: bool = False,
) -> None:
    """Serves until SIGTERM or SIGINT. Raises UsageError where it cannot listen.

    ``ignore_sigterm``: it goes on, and its log says that it was asked to end. ``changed`` is called with a
    client's address whose value has just been given, through ``control_file``.
    """
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ignored() -> None:
        served.log("ignored", signal="SIGTERM")

    loop.add_signal_handler(signal.SIGTERM, ignored if ignore_sigterm else ending.set)
    loop.add_signal_handler(signal.SIGINT, ending.set)
    listening: list[socket.socket] = []
    try:
        for port, _ in ports:
            listening.append(bound(address, port))  # one by one: those before one that fails are closed
    except UsageError:
        for one in listening:
            one.close()
        raise
    servers = [
        await loop.create_server(lambda make=make: served.accept(make), sock=sock)  # type: ignore[misc]  # typeshed: no default
        for sock, (_, make) in zip(listening, ports, strict=True)
    ]
    commands = await control.listen(control_file, served.values, changed) if control_file is not None else None
    served.log("serving", address=address, ports=",".join(str(sock.getsockname()[1]) for sock in listening))
    try:
        await ending.wait()
    finally:
        for server in [*servers, *([commands] if commands is not None else [])]:
            server.close()
        await _end_all(served)
        served.log("ended")


async def _end_all(served: Served) -> None:
    for connection in list(served.connections):
        connection.end(SERVER_ENDS)
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            for connection in list(served.connections):
                await connection.ended.wait()
    for connection in list(served.connections):
        connection.abort(SERVER_ENDS)
        await connection.ended.wait()
