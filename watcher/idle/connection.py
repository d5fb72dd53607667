"""One connection to the API server that says nothing, until it is tried.

It holds a watch of one ConfigMap that nobody touches. A plain HTTP connection would not do: the API server closes one
on which no request runs after 90 s. A watch it ends when the ``timeoutSeconds`` asked for are over, which outrank its
own 30 to 60 minutes (``ListResource`` in k8s.io/apiserver, endpoints/handlers/get.go). TCP keepalive is off, HTTP is
1.1, so that nothing of ours is ever sent by itself.

A try sends an empty line through the watch. To the server that is the beginning of a next request, which it does not
read before this one is done (``connReader.backgroundRead`` in Go's net/http): the watch goes on. Whether it arrived
is not asked of the server but of our kernel: acknowledged, reset, closed, or nothing.

Nothing here may import more than the standard library and ``watcher.api``: the soak's supervisor holds one for weeks.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from urllib.parse import quote

from watcher.api import ApiServer, tls
from watcher.errors import WatcherError
from watcher.kernel import tcp_info
from watcher.kernel.tcp_info import TcpInfo
from watcher.totals import Tried

NOBODYS = "trigger-idle"
"""The ConfigMap that is watched: none of this name is ever made, so that nothing is ever said of it. The soak's Role
allows it, too."""
OPEN_SECONDS = 10.0
WATCH_SECONDS = 7 * 86_400
"""How long a watch is asked for: far longer than any connection is left idle."""
SETTLE_SECONDS = 0.25
"""No segment for this long: the delayed acknowledgement of the last one (200 ms at most) has been sent, too."""
MOST_SETTLE_SECONDS = 3.0
GRACE_SECONDS = 0.25
"""After an acknowledgement: a proxy acknowledges for itself, and closes when it finds its own far side dead."""
MOST_SIGNS = 64
_MOST_HEAD_BYTES = 64 << 10
_PAUSES_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05)
_LAST_CHUNK = b"0\r\n\r\n"


class WatchRefused(WatcherError):
    """The API server answered, but not with a watch; ``status`` is what it said."""

    def __init__(self, status: int, namespace: str, name: str) -> None:
        advice = {
            401: "the token is not, or no longer, valid",
            403: f"the account needs the verb watch on configmaps in {namespace}, at least on the one named {name}",
            404: f"is there a namespace {namespace}?",
        }.get(status)
        super().__init__(f"the API server refuses a watch of ConfigMap {namespace}/{name}: {status}", advice=advice)
        self.status = status


class IdleConnection:
    """Blocking, for one thread at a time. ``open`` it, leave it alone, ``try_`` it once, ``close`` it."""

    def __init__(self, api: ApiServer, namespace: str, name: str = NOBODYS) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._socket: ssl.SSLSocket | None = None
        self._segments = 0
        self._quiet_from = 0.0
        self._ended: Tried | None = None
        self._ended_after: float | None = None
        self._signs: list[float] = []
        self._signs_in_all = 0
        self.watch_ended = False
        """The server ended the watch in order, which says nothing about the path."""

    def open(self, timeout_seconds: float = OPEN_SECONDS) -> None:
        """Returns when the watch stands and the connection has fallen quiet.

        Raises WatchRefused, or OSError where there is no connection, no TLS, no answer.
        """
        api = self._api
        raw = socket.create_connection((api.host, api.port), timeout=timeout_seconds)
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = tls(api.ca_pem, api.client_certificate)
            self._socket = context.wrap_socket(raw, server_hostname=api.server_name or api.host)
        except BaseException:
            raw.close()
            raise
        try:
            self._ask(self._socket, timeout_seconds)
            self._socket.setblocking(False)
            self._settle(self._socket)
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> int | None:
        """Our own port, by which a capture finds the connection."""
        return None if self._socket is None else int(self._socket.getsockname()[1])

    @property
    def idle_seconds(self) -> float:
        """Since the last segment of its opening until now, or until it was tried or its end was noticed."""
        return time.monotonic() - self._quiet_from if self._ended_after is None else self._ended_after

    @property
    def signs_in_all(self) -> int:
        """How many segments came while it was idle: the server's, or the path's, own keepalive."""
        return self._signs_in_all

    @property
    def signs(self) -> tuple[float, ...]:
        """After how many idle seconds such a segment was noticed: as exact as ``state`` is called often."""
        return tuple(self._signs)

    def state(self) -> Tried | None:
        """What the kernel has learnt so far, without sending anything; None: nothing happened yet.

        ``RESET`` and ``CLOSED`` came by themselves. Sticky: once it has ended it stays so.
        """
        if self._ended is None and self._ended_after is None and self._socket is not None:
            idle = time.monotonic() - self._quiet_from
            self._ended = self._look(self._socket, idle)
            if self._ended is not None:
                self._ended_after = idle
        return self._ended

    def try_(self, seconds: float) -> tuple[Tried, float]:
        """Sends two harmless octets and tells what came of it within ``seconds``, and how long that took.

        Where the connection had ended before, nothing is sent. Raises ConnectionError where it was never opened.
        """
        began = time.monotonic()
        if self._socket is None:
            raise ConnectionError("the idle connection was never opened, or is closed")
        before = self.state()
        if before is not None:
            return before, 0.0
        self._ended_after = began - self._quiet_from
        outcome = self._send_and_wait(self._socket, began + seconds)
        if outcome is not Tried.ALIVE:
            self._ended = outcome
        return outcome, time.monotonic() - began

    def close(self) -> None:
        """Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, stream: ssl.SSLSocket, timeout_seconds: float) -> None:
        host = f"[{self._api.host}]" if ":" in self._api.host else self._api.host
        selector = quote(f"metadata.name={self._name}", safe="")
        lines = [
            f"GET /api/v1/namespaces/{quote(self._namespace, safe='')}/configmaps"
            f"?watch=true&fieldSelector={selector}&timeoutSeconds={WATCH_SECONDS} HTTP/1.1",
            f"Host: {host}:{self._api.port}",
            "User-Agent: watcher",
            "Accept: application/json",
        ]
        if self._api.token:
            lines.append(f"Authorization: Bearer {self._api.token}")
        stream.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        until = time.monotonic() + timeout_seconds
        while b"\r\n\r\n" not in head:
            data = stream.recv(1 << 14)
            head += data
            if not data or len(head) > _MOST_HEAD_BYTES:
                raise ConnectionError("the API server closed the connection before it answered the watch")
            if time.monotonic() > until:
                raise TimeoutError("the API server did not answer the watch in time")
        words = head.split(b"\r\n", 1)[0].split()
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        if status != 200:
            raise WatchRefused(status, self._namespace, self._name)

    def _settle(self, stream: ssl.SSLSocket) -> None:
        """Waits until nothing moves any more: idleness counts from the last segment, not from a call's return."""
        give_up = time.monotonic() + MOST_SETTLE_SECONDS
        _drain(stream)
        last = tcp_info.of(stream)
        self._quiet_from = time.monotonic()
        while time.monotonic() < min(give_up, self._quiet_from + SETTLE_SECONDS):
            time.sleep(SETTLE_SECONDS / 10)
            _drain(stream)
            now = tcp_info.of(stream)
            if (now.segs_in, now.segs_out) != (last.segs_in, last.segs_out):
                self._quiet_from = time.monotonic()
            last = now
        self._segments = last.segs_in or 0

    def _look(self, stream: ssl.SSLSocket, idle: float) -> Tried | None:
        info, ended = _kernel(stream)
        came = (info.segs_in or 0) - self._segments
        self._segments += came
        data = _drain(stream)
        if data.endswith(_LAST_CHUNK):
            self.watch_ended = True
            return Tried.CLOSED
        # What ended it came as a segment, too, but is no sign of life.
        signs = came - (1 if ended is not None else 0)
        if signs > 0:
            self._signs_in_all += signs
            self._signs = [*self._signs, idle][-MOST_SIGNS:]
        return ended

    def _send_and_wait(self, stream: ssl.SSLSocket, until: float) -> Tried:
        before = tcp_info.of(stream)
        try:
            stream.send(b"\r\n")
        except (OSError, ValueError):  # it ended in this very moment
            return _after_sending(_kernel(stream)[1] or Tried.CLOSED)
        pauses = iter(_PAUSES_SECONDS)
        pause = 0.0
        alive_at: float | None = None
        while True:
            info, ended = _kernel(stream)
            if ended is not None:
                return _after_sending(ended)
            now = time.monotonic()
            if alive_at is None and _acknowledged(before, info):
                alive_at = now
            if alive_at is not None and now > alive_at + GRACE_SECONDS:
                return Tried.ALIVE
            if alive_at is None and now > until:
                return Tried.SILENT
            pause = next(pauses, pause)
            time.sleep(pause)


def _acknowledged(before: TcpInfo, now: TcpInfo) -> bool:
    if now.unacked:
        return False
    if before.bytes_acked is None or now.bytes_acked is None:  # before Linux 4.1
        return now.last_ack_recv_seconds < now.last_data_sent_seconds + 0.01
    return now.bytes_acked > before.bytes_acked


def _kernel(stream: socket.socket) -> tuple[TcpInfo, Tried | None]:
    """Asked of the kernel alone: CPython's TLS reports a reset as an ordinary end (python/cpython#115627)."""
    error = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    info = tcp_info.of(stream)
    if error == errno.ETIMEDOUT:
        return info, Tried.SILENT
    if error == errno.EPIPE or info.state == tcp_info.CLOSE_WAIT:  # EPIPE: a reset behind a FIN
        return info, Tried.CLOSED
    if error or info.state != tcp_info.ESTABLISHED:
        return info, Tried.RESET
    return info, None


def _after_sending(ended: Tried) -> Tried:
    return Tried.RESET_ON_NEXT_PACKET if ended is Tried.RESET else ended


def _drain(stream: ssl.SSLSocket) -> bytes:
    """What has come: session tickets, which give no data, and, where the server ends the watch, its last chunk."""
    data = b""
    while len(data) < _MOST_HEAD_BYTES:
        try:
            more = stream.recv(1 << 14)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            break
        except OSError:  # reset, or a torn TLS record: the kernel's state says which
            break
        if not more:
            break
        data += more
    return data[-_MOST_HEAD_BYTES:]
