"""What the two control clients share: one watch over one connection, with nothing but the standard library.

Standard library only, because two controls run beside every scenario and must start fast and weigh little.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import platform
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

Json = dict[str, Any]


def emit(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def started(**settings: object) -> None:
    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    emit("started", library="http.client", version=platform.python_version(), runtime=runtime, settings=settings)


def end_on_sigterm() -> None:
    """In a thread, since Python runs a signal's handler only between two reads, and a quiet watch is one long read."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def nonce_of(config_map: Json) -> str:
    return str(config_map.get("data", {}).get("nonce", ""))


class Session:
    """One connection to the API server that ``KUBECONFIG``, written as JSON, names."""

    def __init__(self, *, connect_timeout_seconds: float) -> None:
        kubeconfig = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
        cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        server = urlsplit(cluster["server"])
        assert server.hostname is not None
        self._token = (user.get("token") or Path(user["tokenFile"]).read_text()).strip()
        self._connection = http.client.HTTPSConnection(
            server.hostname, server.port or 443, timeout=connect_timeout_seconds, context=_trust(cluster)
        )

    def watch(self) -> Iterator[Json]:
        """The events of the trigger, one watch long; prints ``watching`` when the watch is answered.

        The wait for an event has no timeout. Raises ``OSError`` or ``http.client.HTTPException``.
        """
        query = urlencode({"watch": "true", "fieldSelector": f"metadata.name={os.environ['WATCHER_NAME']}"})
        path = f"/api/v1/namespaces/{os.environ['WATCHER_NAMESPACE']}/configmaps?{query}"
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
        # An answer that is not HTTP/1.1 keep-alive takes the socket from the connection, so it is kept here.
        self._socket = self._connection.sock
        response = self._connection.getresponse()
        if response.status != 200:
            raise http.client.HTTPException(f"{response.status} {response.reason}: {response.read(1000)!r}")
        self._socket.settimeout(None)
        emit("watching")
        while line := response.readline():
            yield json.loads(line)

    def keep_alive(self, idle: int, interval: int, count: int) -> None:
        """In whole seconds."""
        self._connection.connect()
        own: socket.socket = self._connection.sock
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)

    def close(self) -> None:
        self._connection.close()


def _trust(cluster: Json) -> ssl.SSLContext:
    if "certificate-authority-data" in cluster:
        return ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    return ssl.create_default_context(cafile=cluster["certificate-authority"])
