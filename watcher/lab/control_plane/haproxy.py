"""HAProxy in TCP mode: before the API servers as the server side of most clouds, and as a path's own proxy.

It passes bytes on and answers for nothing else: TLS, ALPN and HTTP are between client and kube-apiserver. The
API server's own keepalive ends at it.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import LabUnavailable
from watcher.lab import sandbox
from watcher.lab.addresses import API_KEEPALIVE_PORT

QUIET = "24d"
"""Longer than any cell, and about the most that HAProxy can count (2**31 ms)."""
_MOST_CONNECTIONS = 20_000
_OWN_FILES = 200
"""Open files beyond the two of each connection."""


@dataclass(frozen=True)
class Front:
    """One place where HAProxy listens, and where it leads."""

    name: str
    address: str
    port: int
    servers: tuple[str, ...]
    """The servers' addresses."""
    server_port: int = API_KEEPALIVE_PORT
    introduces: bool = False
    """It says whom it brings: the PROXY protocol, version 1."""
    timeout: str = QUIET
    """How long both sides may be without data, as HAProxy writes it."""


def binary() -> str:
    """Raises LabUnavailable, naming the package, where it is missing."""
    found = shutil.which("haproxy")
    if found is None:
        raise LabUnavailable(
            "haproxy is missing: it stands before the real API server where a path's server side has no keepalive",
            advice="apt-get install haproxy (the package has this name in all distributions),"
            " or take the embedded control plane",
        )
    return found


def missing() -> str | None:
    """Why a run cannot have paths with a proxy; None where it can."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *sandbox.SYSTEM_FOLDERS))
    return "needs haproxy: apt-get install haproxy" if shutil.which("haproxy", path=places) is None else None


def most_connections(open_files: int) -> int:
    """As many as this limit of open files allows (negative: none), within reason.

    HAProxy sizes its tables by it, so that the limit of some machines, a thousand million, would be its memory.
    """
    if open_files < 0:
        return _MOST_CONNECTIONS
    return max(100, min(_MOST_CONNECTIONS, (open_files - _OWN_FILES) // 2))


def configuration(address: str, port: int, servers: Sequence[str], *, most: int) -> str:
    """Listens on ``address:port``; ``servers`` are the API servers' addresses."""
    return fronts([Front("kubernetes", address, port, tuple(servers))], most=most)


def fronts(listening: Sequence[Front], *, most: int, admin: Path | None = None) -> str:
    """One process for all of them; ``admin`` is the socket at which its connections can be listed and ended.

    A server that refuses is passed over for the next at once; there are no health checks, whose connections would
    stand in the API servers' logs as failed handshakes.
    """
    return "\n".join(
        [
            "global",
            "    nbthread 1",
            f"    maxconn {most}",
            "    noreuseport",  # else a port in use would be shared, and every other client lost
            "    log stdout format raw local0",
            *([] if admin is None else [f"    stats socket {admin} mode 600 level admin"]),
            "defaults",
            "    mode tcp",
            "    log global",
            # A line when a connection is over: client, our port to the server, server, how long, bytes, who ended it.
            '    log-format "%t client=%ci:%cp through=%bi:%bp server=%s ms=%Tt bytes=%B ended=%ts"',
            "    no option clitcpka",
            "    no option srvtcpka",
            "    timeout connect 5s",
            *(line for front in listening for line in _lines(front)),
            "",
        ]
    )


def _lines(front: Front) -> list[str]:
    return [
        f"listen {front.name}",
        f"    bind {front.address}:{front.port}",
        f"    timeout client {front.timeout}",
        f"    timeout server {front.timeout}",
        f"    retries {len(front.servers) - 1}",
        "    option redispatch 1",
        "    balance roundrobin",
        *(
            f"    server api-{number} {server}:{front.server_port}{' send-proxy' if front.introduces else ''}"
            for number, server in enumerate(front.servers, 1)
        ),
    ]


def open_files() -> int:
    """The hard limit of this process, which HAProxy inherits."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
