"""HAProxy in TCP mode before the API servers: the server side of most clouds, which sends no TCP keepalive.

It passes bytes on and answers for nothing else: TLS, ALPN and HTTP are between client and kube-apiserver. The
API server's own keepalive ends at it.
"""

from __future__ import annotations

import resource
import shutil
from collections.abc import Sequence

from watcher.errors import LabUnavailable
from watcher.lab.addresses import API_KEEPALIVE_PORT

QUIET = "24d"
"""Longer than any cell, and about the most that HAProxy can count (2**31 ms)."""
_MOST_CONNECTIONS = 20_000
_OWN_FILES = 200
"""Open files beyond the two of each connection."""


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


def most_connections(open_files: int) -> int:
    """As many as this limit of open files allows (negative: none), within reason.

    HAProxy sizes its tables by it, so that the limit of some machines, a thousand million, would be its memory.
    """
    if open_files < 0:
        return _MOST_CONNECTIONS
    return max(100, min(_MOST_CONNECTIONS, (open_files - _OWN_FILES) // 2))


def configuration(address: str, port: int, servers: Sequence[str], *, most: int) -> str:
    """Listens on ``address:port``; ``servers`` are the API servers' addresses.

    A server that refuses is passed over for the next at once; there are no health checks, whose connections would
    stand in the API servers' logs as failed handshakes.
    """
    lines = [f"    server api-{number} {server}:{API_KEEPALIVE_PORT}" for number, server in enumerate(servers, 1)]
    return "\n".join(
        [
            "global",
            "    nbthread 1",
            f"    maxconn {most}",
            "    noreuseport",  # else a port in use would be shared, and every other client lost
            "    log stdout format raw local0",
            "defaults",
            "    mode tcp",
            "    log global",
            # A line when a connection is over: client, our port to the server, server, how long, bytes, who ended it.
            '    log-format "%t client=%ci:%cp through=%bi:%bp server=%s ms=%Tt bytes=%B ended=%ts"',
            "    no option clitcpka",
            "    no option srvtcpka",
            "    timeout connect 5s",
            f"    timeout client {QUIET}",
            f"    timeout server {QUIET}",
            f"    retries {len(servers) - 1}",
            "    option redispatch 1",
            "listen kubernetes",
            f"    bind {address}:{port}",
            "    balance roundrobin",
            *lines,
            "",
        ]
    )


def open_files() -> int:
    """The hard limit of this process, which HAProxy inherits."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
