"""A watch by HTTP/2 in bare frames: what a server says on a connection before its end, which libraries hide.

RFC 9113 for the frames, RFC 7541 for the request's headers.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, GOAWAY = 0x0, 0x1, 0x4, 0x7
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
STREAM = 1
_HEAD_OCTETS = 9


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    def encoded(self) -> bytes:
        head = len(self.payload).to_bytes(3, "big") + bytes([self.kind, self.flags])
        return head + self.stream.to_bytes(4, "big") + self.payload


class Http2Watch:
    """It has seen the trigger when it is there. Raises OSError, AssertionError."""

    def __init__(self, ca_pem: str, token: str, host: str, port: int, seconds: float = 30.0) -> None:
        context = ssl.create_default_context(cadata=ca_pem)
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection((host, port), timeout=seconds)
        self._stream = context.wrap_socket(raw, server_hostname=host)
        assert self._stream.selected_alpn_protocol() == "h2"
        self._unread = b""
        request = {
            ":method": "GET",
            ":scheme": "https",
            ":path": "/api/v1/namespaces/cell-1/configmaps?watch=true&fieldSelector=metadata.name%3Dtrigger",
            ":authority": f"{host}:{port}",
            "authorization": f"Bearer {token}",
        }
        headers = Frame(HEADERS, END_STREAM | END_HEADERS, STREAM, b"".join(map(_literal, request.items())))
        self._stream.sendall(PREFACE + Frame(SETTINGS, 0, 0, b"").encoded() + headers.encoded())
        until, seen = time.monotonic() + seconds, b""
        while b'"ADDED"' not in seen:
            frame = self._read(until)
            assert frame is not None, f"the connection ended: {seen!r}"
            if frame.kind == DATA:
                seen += frame.payload

    def rest(self, seconds: float) -> list[Frame]:
        """All that comes until the connection ends, however it does. Raises TimeoutError where it does not."""
        until, frames = time.monotonic() + seconds, list[Frame]()
        while (frame := self._read(until)) is not None:
            frames.append(frame)
        self._stream.close()
        return frames

    def _read(self, until: float) -> Frame | None:
        """The next frame; None at the end."""
        head = self._take(_HEAD_OCTETS, until)
        if head is None:
            return None
        payload = self._take(int.from_bytes(head[:3], "big"), until)
        if payload is None:
            return None
        frame = Frame(head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, payload)
        if frame.kind == SETTINGS and not frame.flags & ACK:
            self._stream.sendall(Frame(SETTINGS, ACK, 0, b"").encoded())
        return frame

    def _take(self, octets: int, until: float) -> bytes | None:
        while len(self._unread) < octets:
            self._stream.settimeout(max(0.01, until - time.monotonic()))
            try:
                data = self._stream.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError:  # a reset, or an end without TLS's own
                return None
            if not data:
                return None
            self._unread += data
        taken, self._unread = self._unread[:octets], self._unread[octets:]
        return taken


def _literal(header: tuple[str, str]) -> bytes:
    """Never indexed, not compressed."""
    return b"\x10" + b"".join(_length(len(text)) + text.encode() for text in header)


def _length(number: int) -> bytes:
    """With a prefix of 7 bits."""
    if number < 127:
        return bytes([number])
    coded, rest = [127], number - 127
    while rest >= 128:
        coded.append(rest % 128 + 128)
        rest //= 128
    return bytes([*coded, rest])
