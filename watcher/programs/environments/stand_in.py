"""A server on loopback that a program can watch while its environment is made: one ConfigMap, over TLS.

It knows just enough of the API for a client library to go all the way from its first class to an observed touch, over a
plain response or a WebSocket. Nothing is measured here; that is what the lab's control planes are for, and an
environment is made long before there is one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import cast
from urllib.parse import parse_qs, urlsplit

import trustme

NAMESPACE, NAME = "stand-in", "trigger"
TOUCHES = 2
"""What a program observes here: the trigger as it is, and as it is after a touch."""
IDLE_SECONDS = 30.0
"""How long a connection is kept on which nobody asks."""
_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Of every WebSocket: RFC 6455, 1.3."""


@dataclass(frozen=True)
class StandIn:
    """Where it is, and who vouches for it."""

    address: str
    ca_pem: str

    def kubeconfig(self) -> str:
        """As the contract says that a program gets it."""
        authority = base64.b64encode(self.ca_pem.encode()).decode()
        cluster = {"server": f"https://{self.address}", "certificate-authority-data": authority}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": NAME,
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
            "clusters": [{"name": NAME, "cluster": cluster}],
            "users": [{"name": NAME, "user": {"token": "none"}}],
        }
        return json.dumps(content)


@contextmanager
def serving() -> Iterator[StandIn]:
    """Listens when entered, on a port of its own. When left, ends every watch and waits for its clients to hang up."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with _Server(context) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield StandIn(f"127.0.0.1:{server.server_port}", authority.cert_pem.bytes().decode())
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # whoever leaves it waits for them

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._context = context
        self.over = threading.Event()

    def get_request(self) -> tuple[socket, object]:
        connection, peer = super().get_request()
        # The handshake comes with the first octet that is read: in the connection's own thread.
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: a program that hangs up is what ends here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = parse_qs(url.query)
        if url.path != f"/api/v1/namespaces/{NAMESPACE}/configmaps":
            self._answer(HTTPStatus.NOT_FOUND, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})
        elif asked.get("watch") not in (["true"], ["1"]):
            listed = {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}
            self._answer(HTTPStatus.OK, {**listed, "items": [_trigger(1)]})
        else:
            events: list[dict[str, object]] = [{"type": "MODIFIED", "object": _trigger(2)}]
            if asked.get("resourceVersion", ["0"]) == ["0"]:
                events.insert(0, {"type": "ADDED", "object": _trigger(1)})
            self._watch(events)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nowhere."""

    def _answer(self, status: HTTPStatus, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, events: list[dict[str, object]]) -> None:
        key = self.headers.get("Sec-WebSocket-Key")
        if key is None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_response(HTTPStatus.SWITCHING_PROTOCOLS)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            proof = hashlib.sha1(f"{key}{_WEBSOCKET}".encode(), usedforsecurity=False).digest()
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(proof).decode())
        self.end_headers()
        for event in events:
            line = json.dumps(event).encode() + b"\n"
            # A frame that is a whole text with a length of two octets, RFC 6455, 5.2; or a chunk, RFC 9112, 7.1.
            head = b"%x\r\n" % len(line) if key is None else b"\x81\x7e" + len(line).to_bytes(2, "big")
            self.wfile.write(head + line + (b"\r\n" if key is None else b""))
        cast(_Server, self.server).over.wait()
        self.close_connection = True


def _trigger(version: int) -> dict[str, object]:
    """Padded: the length of a frame that holds it is never one that fits in one octet."""
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "uid": "00000000-0000-0000-0000-000000000001",
            "resourceVersion": str(version),
            "creationTimestamp": "2000-01-01T00:00:00Z",
        },
        "data": {"nonce": f"nonce-{version}"},
    }
