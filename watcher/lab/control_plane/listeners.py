"""Where the server listens, what its kernel does with a quiet connection, and which connections it turns away."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from weakref import WeakSet

from watcher.errors import UsageError

_SPECIFICATION = re.compile(
    r"(?P<address>\[[0-9a-fA-F:.]+\]|[^:,]+):(?P<port>\d{1,5}),keepalive=(?:off|(?P<idle>\d+)/(?P<interval>\d+)/(?P<count>\d+))(?P<http1>,alpn=http/1\.1)?"
)


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP keepalive of accepted connections, in whole seconds, since the kernel knows no other."""

    idle_seconds: int
    interval_seconds: int
    count: int


@dataclass(frozen=True, slots=True)
class Listener:
    address: str
    port: int = 0
    """0: any free one."""
    keepalive: Keepalive | None = None
    """None: off."""
    http1_only: bool = False
    """Offer HTTP/1.1 alone, not HTTP/2 first as kube-apiserver does: for clients that are not measured, as kubectl."""

    @classmethod
    def parse(cls, text: str) -> Listener:
        """From ``ADDRESS:PORT,keepalive=off`` or ``…=IDLE/INTERVAL/COUNT``, then perhaps ``,alpn=http/1.1``."""
        found = _SPECIFICATION.fullmatch(text)
        keepalive = None
        if found and found["idle"]:
            keepalive = Keepalive(int(found["idle"]), int(found["interval"]), int(found["count"]))
            if not (
                1 <= keepalive.idle_seconds <= 32767
                and 1 <= keepalive.interval_seconds <= 32767
                and 1 <= keepalive.count <= 127
            ):
                found = None
        if found is None or int(found["port"]) > 65535:
            raise UsageError(
                f"{text!r} is no listener",
                advice="ADDRESS:PORT,keepalive=off or ADDRESS:PORT,keepalive=IDLE/INTERVAL/COUNT[,alpn=http/1.1]",
            )
        return cls(found["address"].strip("[]"), int(found["port"]), keepalive, bool(found["http1"]))

    def open(self) -> socket.socket:
        """A listening socket; on Linux the accepted ones inherit its keepalive."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(self.keepalive is not None))
            if self.keepalive is not None:
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self.keepalive.idle_seconds)
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, self.keepalive.interval_seconds)
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, self.keepalive.count)
            listening.bind((self.address, self.port))
        except BaseException:
            listening.close()
            raise
        return listening


def tls(certificate: Path, key: Path, *, http1_only: bool = False) -> ssl.SSLContext:
    """Offers what kube-apiserver offers, h2 first: no client that prefers HTTP/2 becomes one of HTTP/1.1 unnoticed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"] if http1_only else ["h2", "http/1.1"])
    return context


class Gate(asyncio.Protocol):
    """Hands a connection over to ``serve``'s protocol, unless the TLS handshake agreed on HTTP/2."""

    def __init__(
        self,
        serve: Callable[[], asyncio.Protocol],
        refused: Callable[[str, int], None],
        streams: WeakSet[asyncio.Transport],
    ) -> None:
        """``streams`` gets the connection, so that whoever ends the server can end those that nobody else will."""
        self._serve = serve
        self._refused = refused
        self._streams = streams

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        self._streams.add(stream)
        if stream.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            address, port, *_ = stream.get_extra_info("peername")
            self._refused(address, port)
            stream.close()
            return
        protocol = self._serve()
        stream.set_protocol(protocol)
        protocol.connection_made(stream)
