"""``/healthz``, ``/readyz`` and ``/metrics``, served by a thread of its own beside the soak's event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from watcher.errors import UsageError, WatcherError
from watcher.soak.health import Answer, Health

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_SECONDS = 10.0
"""How long a connection may take to ask its one question."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # one that hangs must not keep the process from ending

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for this host's name, which in a pod can take half a minute.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no event."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """A kubelet asks every few seconds; that is no news."""

    def address_string(self) -> str:
        return str(self.client_address[0])


def application(health: Health, registry: CollectorRegistry) -> WSGIApplication:
    """200 or 503 with a line for each part for the two probes; 404 for what is not there."""
    metrics = make_wsgi_app(registry)
    probes: dict[str, Callable[[], Answer]] = {
        "/healthz": health.healthz,
        "/livez": health.healthz,
        "/readyz": health.readyz,
    }

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        probe = probes.get(path)
        if probe is None:
            status, lines = "404 Not Found", ["there are /healthz, /readyz and /metrics"]
        else:
            good, lines = probe()
            status = "200 OK" if good else "503 Service Unavailable"
        body = "".join(f"{line}\n" for line in lines).encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(status, [*headers, ("Cache-Control", "no-store")])
        return [body]

    return serve


@contextmanager
def serving(listen: str, health: Health, registry: CollectorRegistry) -> Iterator[int]:
    """Serves at ``listen`` (``0.0.0.0:8080``, ``[::]:8080``; port 0: any) while entered; gives the port.

    Raises UsageError where that is no address, WatcherError where it cannot be listened at.
    """
    host, port = address_of(listen)
    try:
        server = (_Server6 if ":" in host else _Server)((host, port), _Handler)
    except OSError as error:
        raise WatcherError(
            f"cannot listen at {listen}: {error.strerror or error}",
            advice="WATCHER_LISTEN names another address: WATCHER_LISTEN=0.0.0.0:8081",
        ) from error
    server.set_app(application(health, registry))
    thread = Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(REQUEST_SECONDS)
        server.server_close()


def address_of(listen: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 address stands in brackets. Raises UsageError."""
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535 or (":" in host and not bracketed):
        raise UsageError(
            f"not an address to listen at: {listen!r}", advice="give host and port: 0.0.0.0:8080, or [::]:8080"
        )
    return host.strip("[]") if bracketed else host, int(port)
