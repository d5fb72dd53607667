"""All TCP sockets of our own network namespace with their counters, as ``ss -ti`` gets them, over netlink.

It needs no privilege, not even where pidfd_getfd is refused: the seccomp profile that container runtimes apply by
default allows that system call only with CAP_SYS_PTRACE, which no restricted pod has. What netlink does not tell is
the numbers of a socket's keepalive options; it tells the timer that runs.

Layouts: uapi ``linux/netlink.h``, ``linux/sock_diag.h``, ``linux/inet_diag.h``.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from watcher.kernel import tcp_info
from watcher.kernel.tcp_info import TcpInfo

Timer = Literal["on", "keepalive", "time-wait", "persist"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x1 | 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_INET_DIAG_INFO = 2
_ALL_BUT_LISTEN = 0xFFF & ~(1 << 10)

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48s")
_ENTRY = struct.Struct("=BBBB2s2s16s16sI8sIIIII")
_ATTRIBUTE = struct.Struct("=HH")
_TIMERS: dict[int, Timer] = {1: "on", 2: "keepalive", 3: "time-wait", 4: "persist"}
_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One socket. ``timer`` is the one that runs: ``on`` (retransmission), ``keepalive``, ``persist`` or none."""

    inode: int
    state: int
    local: tuple[str, int]
    remote: tuple[str, int]
    timer: Timer | None
    timer_seconds: float
    info: TcpInfo | None


def rows() -> dict[int, Row]:
    """By inode; sockets that belong to no file any more, as in TIME_WAIT, are left out. Raises OSError."""
    found: dict[int, Row] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_WAIT_SECONDS)
        netlink.bind((0, 0))
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0, _ALL_BUT_LISTEN, bytes(48))
            head = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, family, 0)
            netlink.send(head + body)
            for message in _answers(netlink):
                row = _row(message)
                if row.inode:
                    found[row.inode] = row
    return found


def _answers(netlink: socket.socket) -> Iterator[bytes]:
    while True:
        data = netlink.recv(1 << 16)
        while len(data) >= _HEADER.size:
            length, kind, *_ = _HEADER.unpack_from(data)
            message = data[_HEADER.size : length]
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                number = -struct.unpack_from("=i", message)[0]
                raise OSError(number, "the kernel does not list its TCP sockets")
            yield message
            data = data[(length + 3) & ~3 :]


def _row(message: bytes) -> Row:
    (family, state, timer, _, sport, dport, source, destination, _, _, expires, _, _, _, inode) = _ENTRY.unpack_from(
        message
    )
    info = None
    attributes = message[_ENTRY.size :]
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if length < _ATTRIBUTE.size:
            break
        if kind == _INET_DIAG_INFO:
            info = tcp_info.parse(attributes[_ATTRIBUTE.size : length])
        attributes = attributes[(length + 3) & ~3 :]
    running = _TIMERS.get(timer)
    return Row(
        inode=inode,
        state=state,
        local=(_address(family, source), int.from_bytes(sport, "big")),
        remote=(_address(family, destination), int.from_bytes(dport, "big")),
        timer=running,
        timer_seconds=expires / 1000 if running else 0.0,
        info=info,
    )


def _address(family: int, octets: bytes) -> str:
    return socket.inet_ntop(family, octets[:4] if family == socket.AF_INET else octets)
