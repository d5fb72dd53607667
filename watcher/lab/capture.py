"""The packets on both links of a path, with the kernel's own time of each, to the journal and to pcap files."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import dpkt

from watcher.lab.addresses import POD_SIDE, SERVER_SIDE
from watcher.lab.namespace import Namespace
from watcher.lab.network import CLIENT_SIDE
from watcher.lab.packets import Segment, read
from watcher.records import Link

_ETH_P_ALL = 3  # the only protocol under which a packet socket also sees what its own machine sends
_SO_TIMESTAMPNS = 35
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_MOST_AT_ONCE = 256
_PCAP_HEADER = 24
_RECORD_HEADER = 16

_LINKS: dict[str, Link] = {CLIENT_SIDE: "client", SERVER_SIDE: "server", POD_SIDE: "server"}
"""By the path's interface: a server on the client's own node has a link of its own."""

Sink = Callable[[float, Link, Segment], None]


class Capture:
    """Reads one path's packets on the running event loop and hands each TCP segment of the client to ``sink``.

    ``most_octets`` bounds each file; what comes after is handed on, but not kept.
    """

    def __init__(
        self, path: Namespace, client_address: str, folder: Path, sink: Sink, *, most_octets: int | None = None
    ) -> None:
        self._client = socket.inet_aton(client_address)
        self._sink = sink
        self._socket = path.enter(_open)
        self._files: dict[Link, BinaryIO] = {}
        self._writers: dict[Link, dpkt.pcap.Writer] = {}
        self._most = most_octets
        self._written = dict.fromkeys(_LINKS.values(), _PCAP_HEADER)
        self.not_kept = 0
        """Packets that came when a file was full."""
        for link in self._written:
            file = (folder / f"{link}-link.pcap").open("wb")
            self._files[link] = file
            self._writers[link] = dpkt.pcap.Writer(file, nano=True)
        asyncio.get_running_loop().add_reader(self._socket, self.drain)

    def drain(self) -> None:
        """Reads all that has arrived. Called by the loop, and by whoever must know that nothing is waiting."""
        for _ in range(_MOST_AT_ONCE):
            try:
                frame, ancillary, _flags, address = self._socket.recvmsg(65_536, 64)
            except BlockingIOError:
                return
            link = _LINKS.get(address[0])
            if link is None:
                continue
            seconds, nanoseconds = _stamp(ancillary)
            self._keep(link, frame, seconds + nanoseconds / 1e9)
            segment = read(frame, self._client)
            if segment is not None:
                self._sink(_monotonic(seconds, nanoseconds), link, segment)

    def _keep(self, link: Link, frame: bytes, at: float) -> None:
        octets = _RECORD_HEADER + len(frame)
        if self._most is not None and self._written[link] + octets > self._most:
            self.not_kept += 1
            return
        self._written[link] += octets
        self._writers[link].writepkt_time(frame, at)

    def close(self) -> int:
        """Ends the capture; returns how many packets the kernel could not hand over meanwhile."""
        self.drain()
        asyncio.get_running_loop().remove_reader(self._socket)
        lost: int = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
        self._socket.close()
        for file in self._files.values():
            file.close()
        return lost


def _open() -> socket.socket:
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    capture.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    capture.setblocking(False)
    return capture


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("ll", data[:16])
            return int(seconds), int(nanoseconds)
    return divmod(time.time_ns(), 1_000_000_000)


def _monotonic(seconds: int, nanoseconds: int) -> float:
    """The kernel stamps packets with the wall clock; what matters is how long ago that was."""
    age = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
    return (time.monotonic_ns() - age) / 1e9
