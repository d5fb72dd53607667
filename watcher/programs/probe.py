"""The probe: a fresh connection, as a client that had just started would make it."""

from __future__ import annotations

import json
import socket
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlencode

_MOST_LINE = 1 << 20
"""Octets of an event."""


@dataclass(frozen=True)
class ProbeResult:
    """Whether TCP and TLS came up and an HTTP answer came back, and how long that took."""

    ok: bool
    seconds: float
    port: int | None
    error: str | None


def answer(host: str, port: int, ca_pem: str, timeout_seconds: float) -> ProbeResult:
    """Blocks for up to ``timeout_seconds``, in whatever namespace its thread is; never raises for the network."""
    began = time.monotonic()
    raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    own: int | None = None
    try:
        raw.settimeout(timeout_seconds)
        raw.bind(("", 0))
        own = raw.getsockname()[1]
        raw.connect((host, port))
        with ssl.create_default_context(cadata=ca_pem).wrap_socket(raw, server_hostname=host) as connection:
            connection.settimeout(max(0.1, began + timeout_seconds - time.monotonic()))
            connection.sendall(f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            said = connection.recv(12)
        ok = said.startswith(b"HTTP/1.1 ")
        return ProbeResult(ok, time.monotonic() - began, own, None if ok else f"not an HTTP answer: {said!r}")
    except OSError as error:
        return ProbeResult(False, time.monotonic() - began, own, f"{type(error).__name__}: {error}")
    finally:
        raw.close()


def connect(host: str, port: int, timeout_seconds: float) -> ProbeResult:
    """Whether TCP alone comes up. Blocks and raises as ``answer`` does."""
    began = time.monotonic()
    own: int | None = None
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as raw:
        try:
            raw.settimeout(timeout_seconds)
            raw.bind(("", 0))
            own = raw.getsockname()[1]
            raw.connect((host, port))
        except OSError as error:
            return ProbeResult(False, time.monotonic() - began, own, f"{type(error).__name__}: {error}")
    return ProbeResult(True, time.monotonic() - began, own, None)


def resume(
    host: str, port: int, ca_pem: str, timeout_seconds: float, token: str, trigger: tuple[str, str], version: str
) -> ProbeResult:
    """A watch of the trigger (namespace, name) from this resource version: ``ok`` where an event goes on from there.

    Where none does, ``error`` says how that was told: ``410 as HTTP status`` or ``410 as ERROR event``, else what went
    wrong. Blocks and raises as ``answer`` does.
    """
    began = time.monotonic()
    raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    own: int | None = None
    try:
        raw.settimeout(timeout_seconds)
        raw.bind(("", 0))
        own = raw.getsockname()[1]
        raw.connect((host, port))
        with ssl.create_default_context(cadata=ca_pem).wrap_socket(raw, server_hostname=host) as connection:
            connection.settimeout(max(0.1, began + timeout_seconds - time.monotonic()))
            problem = _resumed(connection, host, token, trigger, version)
        return ProbeResult(problem is None, time.monotonic() - began, own, problem)
    except (OSError, HTTPException) as error:
        return ProbeResult(False, time.monotonic() - began, own, f"{type(error).__name__}: {error}")
    finally:
        raw.close()


def _resumed(connection: ssl.SSLSocket, host: str, token: str, trigger: tuple[str, str], version: str) -> str | None:
    """What is wrong with the watch's first event; None where nothing is."""
    namespace, name = trigger
    wanted = {"watch": "true", "fieldSelector": f"metadata.name={name}", "resourceVersion": version}
    connection.sendall(
        f"GET /api/v1/namespaces/{namespace}/configmaps?{urlencode(wanted)} HTTP/1.1\r\n"
        f"Host: {host}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n\r\n".encode()
    )
    with HTTPResponse(connection, method="GET") as response:
        response.begin()
        if response.status != HTTPStatus.OK:
            return f"{response.status} as HTTP status"
        line = response.readline(_MOST_LINE)
    if not line:
        return "the watch ended without an event"
    try:
        event = json.loads(line)
        kind, found = event["type"], event["object"]
    except (ValueError, KeyError, TypeError):
        return f"not an event: {line[:60]!r}"
    return f"{found.get('code')} as ERROR event" if kind == "ERROR" else None
