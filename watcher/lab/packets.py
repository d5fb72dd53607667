"""Pure reading and writing of the packets that a path sees. No sockets here."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Literal

import dpkt

_LETTERS = (
    (dpkt.tcp.TH_SYN, "S"),
    (dpkt.tcp.TH_ACK, "A"),
    (dpkt.tcp.TH_FIN, "F"),
    (dpkt.tcp.TH_RST, "R"),
    (dpkt.tcp.TH_PUSH, "P"),
    (dpkt.tcp.TH_URG, "U"),
)
_WRAP = 1 << 32


@dataclass(frozen=True)
class Segment:
    """A TCP segment between the cell's client and the API server, whichever name the server has on that link."""

    direction: Literal["to-client", "to-server"]
    port: int
    """The client's."""
    flags: str
    seq: int
    ack: int
    length: int
    peer: str = ""
    """The other end's address, as it stands in the packet."""

    @property
    def next_seq(self) -> int:
        """The sequence number after this segment: payload, and one each for SYN and FIN."""
        return (self.seq + self.length + ("S" in self.flags) + ("F" in self.flags)) % _WRAP


def read(frame: bytes, client_address: bytes) -> Segment | None:
    """The segment in an Ethernet frame; None for anything that is not this client's TCP over IPv4."""
    try:
        ethernet = dpkt.ethernet.Ethernet(frame)
    except (dpkt.UnpackError, IndexError):
        return None
    ip = ethernet.data
    if not isinstance(ip, dpkt.ip.IP) or not isinstance(ip.data, dpkt.tcp.TCP):
        return None
    tcp = ip.data
    to_server = ip.src == client_address
    if not to_server and ip.dst != client_address:
        return None
    return Segment(
        direction="to-server" if to_server else "to-client",
        port=tcp.sport if to_server else tcp.dport,
        flags="".join(letter for bit, letter in _LETTERS if tcp.flags & bit),
        seq=tcp.seq,
        ack=tcp.ack,
        # From the IP header, not from the octets: a captured frame may be padded or cut short.
        length=max(0, ip.len - ip.hl * 4 - tcp.off * 4),
        peer=socket.inet_ntoa(ip.dst if to_server else ip.src),
    )


def reset(source: tuple[str, int], destination: tuple[str, int], seq: int) -> bytes:
    """An IPv4 packet with a bare RST. ``seq`` must be exactly what the receiver expects next (RFC 5961)."""
    tcp = dpkt.tcp.TCP(sport=source[1], dport=destination[1], seq=seq, ack=0, off=5, flags=dpkt.tcp.TH_RST, win=0)
    ip = dpkt.ip.IP(
        src=_octets(source[0]), dst=_octets(destination[0]), p=dpkt.ip.IP_PROTO_TCP, ttl=64, data=tcp, len=20 + len(tcp)
    )
    return bytes(ip)


def stray(source: tuple[str, int], destination: tuple[str, int], seq: int, ack: int) -> bytes:
    """An IPv4 packet with some data of a connection, at a sequence number that nobody expects."""
    tcp = dpkt.tcp.TCP(
        sport=source[1], dport=destination[1], seq=seq, ack=ack, off=5, flags=dpkt.tcp.TH_ACK | dpkt.tcp.TH_PUSH,
        win=64_000, data=b"\0" * 100,
    )  # fmt: skip
    ip = dpkt.ip.IP(
        src=_octets(source[0]), dst=_octets(destination[0]), p=dpkt.ip.IP_PROTO_TCP, ttl=64, data=tcp, len=20 + len(tcp)
    )
    return bytes(ip)


def _octets(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))
