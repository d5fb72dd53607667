"""One client's connection, and the reason why it ended: what a load balancer did to it, its server learns here."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from watcher.servers.log import Log

MOST_UNREAD_OCTETS = 64 * 1024
"""Waiting in this process for a client that does not read, beyond what its kernel's buffers take."""

MOST_INTRODUCTION_OCTETS = 107
"""Of a proxy's line: https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt, section 2.1."""

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
        self._introduction: bytes | None = None
        """What has come of a proxy's line; None where the client is known."""
        self.ended = asyncio.Event()
        self.proxy: str | None = None
        """Connections from this address begin with a line that says whose they are: the PROXY protocol, version 1."""
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
        # Else the kernel takes megabytes for a client that does not read, before anything waits in this process.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_UNREAD_OCTETS)
        self._port = transport.get_extra_info("sockname")[1]
        address, port = (transport.get_extra_info("peername") or ("unknown", 0))[:2]
        if address == self.proxy:
            self._introduction = b""
        else:
            self._open(address, port)

    def data_received(self, data: bytes) -> None:
        if self._introduction is not None:
            data = self._introduced(self._introduction + data)
        self._received += len(data)
        if data:
            self.received(data)

    def opened(self) -> None:
        """The client is there, and known."""

    def received(self, data: bytes) -> None:
        """It has sent something; nothing is made of it here."""

    def _open(self, address: str, port: int) -> None:
        self.address = address
        self._client = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self._log("opened", port=self._port, client=self._client)
        self.opened()

    def _introduced(self, data: bytes) -> bytes:
        """What follows the proxy's line, where that is whole."""
        line, end, rest = data.partition(b"\r\n")
        words = line.decode(errors="replace").split(" ")
        if end and len(words) == 6 and words[0] == "PROXY" and words[4].isdecimal():
            self._introduction = None
            self._open(words[2], int(words[4]))
            return rest
        self._introduction = data
        if end or len(data) > MOST_INTRODUCTION_OCTETS:
            self.abort("the proxy does not say whose connection it is")
        return b""

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
