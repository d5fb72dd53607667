"""One idle connection against a server on loopback that ends it in every way; silence needs a real path (tests/lab)."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import trustme

from watcher.api import ApiServer
from watcher.idle import connection as idle_connection
from watcher.idle.connection import IdleConnection, WatchRefused
from watcher.totals import Tried

WATCH = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DENIED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
MOST_SECONDS = 30.0

Then = Callable[[ssl.SSLSocket], None]


class Server:
    """Answers one request with ``answer``; what follows is up to the test, on its own word."""

    def __init__(self, answer: bytes) -> None:
        authority = trustme.CA()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._go = threading.Event()
        self._done = threading.Event()
        self._end = threading.Event()
        self._then: Then = lambda _: None
        self.request = b""
        port = self._listener.getsockname()[1]
        self.api = ApiServer("127.0.0.1", port, authority.cert_pem.bytes().decode(), "secret")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def then(self, act: Then) -> None:
        """Returns when it is done."""
        self.when_it_can(act)
        assert self._done.wait(MOST_SECONDS)

    def when_it_can(self, act: Then) -> None:
        self._then = act
        self._go.set()

    def close(self) -> None:
        self._go.set()
        self._end.set()
        self._thread.join(MOST_SECONDS)
        self._listener.close()

    def _serve(self) -> None:
        raw, _ = self._listener.accept()
        with self._context.wrap_socket(raw, server_side=True) as stream:
            while not self.request.endswith(b"\r\n\r\n"):
                self.request += stream.recv(1 << 14)
            stream.sendall(self._answer)
            self._go.wait(3 * MOST_SECONDS)
            self._then(stream)
            self._done.set()
            self._end.wait(3 * MOST_SECONDS)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(WATCH)
    yield made
    made.close()


@pytest.fixture
def connection(server: Server) -> Iterator[IdleConnection]:
    made = IdleConnection(server.api, "soak", "nobody")
    made.open()
    yield made
    made.close()


def reset(stream: ssl.SSLSocket) -> None:
    """Closes with a RST instead of a FIN."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def reset_on_data(stream: ssl.SSLSocket) -> None:
    stream.recv(10)
    reset(stream)


def noticed(connection: IdleConnection) -> Tried | None:
    """Its state once the kernel has been told of an end: on a busy machine a moment after that was sent."""
    until = time.monotonic() + MOST_SECONDS
    while (state := connection.state()) is None and time.monotonic() < until:
        time.sleep(0.01)
    return state


def test_alive(server: Server, connection: IdleConnection) -> None:
    """A healthy connection that is said to be dead would blame the path."""
    assert connection.state() is None
    outcome, seconds = connection.try_(MOST_SECONDS)
    assert outcome is Tried.ALIVE
    assert seconds < MOST_SECONDS
    got = []
    server.then(lambda stream: got.append(stream.recv(10)))
    assert got == [b"\r\n"], "two octets, and no more"


def test_it_asks_for_a_quiet_watch(server: Server, connection: IdleConnection) -> None:
    """Anything else is ended by the API server itself, or spoken on."""
    line = server.request.split(b"\r\n")[0].decode()
    assert "/namespaces/soak/configmaps?watch=true&fieldSelector=metadata.name%3Dnobody&timeoutSeconds=" in line
    assert b"bookmark" not in server.request.lower()
    stream = connection._socket
    assert stream is not None
    assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    assert stream.selected_alpn_protocol() in (None, "http/1.1")


def test_an_end_in_order_is_closed(server: Server, connection: IdleConnection) -> None:
    """FIN."""
    server.then(lambda stream: stream.shutdown(socket.SHUT_RDWR))
    assert noticed(connection) is Tried.CLOSED
    assert connection.try_(1) == (Tried.CLOSED, 0.0)
    assert not connection.watch_ended


def test_a_reset_by_itself(server: Server, connection: IdleConnection) -> None:
    """The path, or the server, said so before anything was sent; CPython's TLS would call it an ordinary end."""
    server.then(reset)
    assert noticed(connection) is Tried.RESET
    ended = connection.idle_seconds
    assert connection.try_(1) == (Tried.RESET, 0.0)
    assert connection.idle_seconds == ended, "it was idle until it ended, not until it was tried"


def test_a_reset_in_answer_to_the_try(
    server: Server, connection: IdleConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until something is sent nothing is learnt: that is another ending, and a worse one for a watch."""
    monkeypatch.setattr(idle_connection, "GRACE_SECONDS", MOST_SECONDS)  # the server here is a thread that may be late
    server.when_it_can(reset_on_data)
    assert connection.state() is None
    assert connection.try_(MOST_SECONDS)[0] is Tried.RESET_ON_NEXT_PACKET


def test_the_servers_end_of_the_watch_is_told(server: Server, connection: IdleConnection) -> None:
    """The last chunk: the connection stands, the watch is over, and the path has nothing to do with it."""
    server.then(lambda stream: stream.sendall(b"0\r\n\r\n"))
    assert noticed(connection) is Tried.CLOSED
    assert connection.watch_ended


def test_data_is_a_sign_of_life(server: Server, connection: IdleConnection) -> None:
    """A connection on which something came was not idle."""
    server.then(lambda stream: stream.sendall(b"1\r\n\n\r\n"))
    until = time.monotonic() + MOST_SECONDS
    while not connection.signs and time.monotonic() < until:
        assert connection.state() is None
        time.sleep(0.01)
    assert connection.signs_in_all == 1
    assert len(connection.signs) == 1


def test_a_refusal_says_what_is_missing() -> None:
    """Else the user of a narrow Role looks for a network problem."""
    server = Server(DENIED)
    connection = IdleConnection(server.api, "soak", "nobody")
    with pytest.raises(WatchRefused) as raised:
        connection.open()
    assert raised.value.status == 403
    assert "verb watch" in str(raised.value)
    server.close()


def test_nothing_there_is_an_oserror() -> None:
    """The soak takes it for "API server away", and tries again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen: nobody else can meanwhile
        with pytest.raises(ConnectionRefusedError):
            IdleConnection(ApiServer("127.0.0.1", taken.getsockname()[1], "", ""), "soak").open()


def test_a_connection_that_was_never_opened_cannot_be_tried() -> None:
    """A mistake of ours must not be an outcome."""
    with pytest.raises(ConnectionError):
        IdleConnection(ApiServer("127.0.0.1", 1, "", ""), "soak").try_(1)


def test_it_stays_small() -> None:
    """The supervisor holds one for weeks within 60 MB; one careless import costs as much again."""
    program = "import sys, watcher.idle.connection, watcher.idle.quiet; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "watcher.idle.quiet" in loaded
    assert not loaded & {"pyroute2", "typer", "rich", "kubernetes", "aiohttp", "cryptography", "jinja2"}
