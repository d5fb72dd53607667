"""One client's connection, and the reason why it ended: what a load balancer did to it, its server learns here."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from watcher.servers.log import Log

MOST_UNREAD_OCTETS = 64 * 1024
"""Waiting in this process for a client that does not read, beyond what its kernel's buffers take."""

CLOSED_BY_CLIENT = "closed by client"
SERVER_ENDS = "the server ends"


class Connection(asyncio.Protocol):
    """What every server's connection does; a subclass says what is said, when."""

    def __init__(self, log: Log, gone: Callable[[Connection], None]) -> None:
        self._log = log
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._reason: str | None = None
        self._began = self._last_sent = time.monotonic()
        self._lines = self._received = 0
        self.ended = asyncio.Event()
        self.address = ""
        """The client's, without its port."""
        self._client = ""
        self._port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        connection: socket.socket = transport.get_extra_info("socket")
        # On purpose: whoever is between the two must see nothing but what is said.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else "unknown"
        self._client = f"[{peer[0]}]:{peer[1]}" if peer and ":" in peer[0] else f"{peer[0]}:{peer[1]}" if peer else ""
        self._port = transport.get_extra_info("sockname")[1]
        self._log("opened", port=self._port, client=self._client)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)

    def eof_received(self) -> bool:
        self.end(self.closed_reason())
        return False

    def closed_reason(self) -> str:
        """What the client's own end is called."""
        return CLOSED_BY_CLIENT

    def connection_lost(self, error: Exception | None) -> None:
        now = time.monotonic()
        self._log(
            "closed",
            port=self._port,
            client=self._client,
            reason=reason_of(error, self._reason),
            seconds=round(now - self._began, 3),
            quiet_seconds=round(now - self._last_sent, 3),
            lines_sent=self._lines,
            octets_received=self._received,
        )
        self._transport = None
        self.ended.set()
        self._gone(self)

    def send(self, line: str) -> bool:
        """One line; False where the connection is at its end. A client that does not read is ended here."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(line.encode() + b"\n")
        self._lines += 1
        self._last_sent = time.monotonic()
        waiting = self._transport.get_write_buffer_size()
        if waiting > MOST_UNREAD_OCTETS:
            self.abort(f"it does not read: {waiting} octets wait for it")
            return False
        return True

    def end(self, reason: str) -> None:
        """With FIN, after what is still to be sent."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """At once."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()


def reason_of(error: Exception | None, own: str | None) -> str:
    """Why a connection ended, in words: what the kernel said, else ``own``, what was done here."""
    match error:
        case None:
            return own or CLOSED_BY_CLIENT
        case ConnectionResetError():
            return "reset by peer"
        case TimeoutError():
            return "timed out: nobody answered"
        case BrokenPipeError():
            return "cannot write: the connection is closed"
        case OSError():
            return f"cannot read or write: {error.strerror or error}"
    return f"{type(error).__name__}: {error}"
