"""``TCP_INFO``: what the kernel counts for one TCP connection.

The layout is ``struct tcp_info`` of Linux's uapi ``linux/tcp.h``. It only ever grew at its end, so that a field that
an older kernel does not have yet reads as ``None``, and what a newer one adds is not looked at.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

ESTABLISHED = 1
CLOSE = 7
CLOSE_WAIT = 8
STATES = dict(
    enumerate(
        (
            "ESTABLISHED",
            "SYN_SENT",
            "SYN_RECV",
            "FIN_WAIT1",
            "FIN_WAIT2",
            "TIME_WAIT",
            "CLOSE",
            "CLOSE_WAIT",
            "LAST_ACK",
            "LISTEN",
            "CLOSING",
        ),
        start=1,
    )
)
"""enum in linux/net/tcp_states.h, from 1 on"""

_MOST_BYTES = 512
_LEAST_BYTES = 104
"""Up to ``tcpi_total_retrans``, which every kernel since 2.6 has."""


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """Ages are seconds before the moment of reading; the kernel keeps them in ticks of 1 to 10 ms."""

    state: int
    unacked: int
    """Segments sent and not acknowledged."""
    retransmits: int
    """Of the segment that waits now."""
    total_retrans: int
    last_data_sent_seconds: float
    last_data_recv_seconds: float
    last_ack_recv_seconds: float
    """The last segment whose acknowledgement was looked at. A keepalive probe of the other end is answered before
    that, so it leaves this alone: that tells its probes from the answers to ours."""
    bytes_acked: int | None = None
    """Since Linux 4.1."""
    bytes_received: int | None = None
    segs_out: int | None = None
    """All segments, those without data too; since Linux 4.2."""
    segs_in: int | None = None
    data_segs_in: int | None = None
    """Since Linux 4.6."""
    data_segs_out: int | None = None

    @property
    def state_name(self) -> str:
        return STATES.get(self.state, str(self.state))


def parse(data: bytes) -> TcpInfo:
    """Raises ValueError where the kernel gave less than any kernel in use gives."""
    if len(data) < _LEAST_BYTES:
        raise ValueError(f"TCP_INFO of {len(data)} octets: {_LEAST_BYTES} are the least")

    def u32(offset: int) -> int:
        return int(struct.unpack_from("=I", data, offset)[0])

    def later(code: str, offset: int) -> int | None:
        if len(data) < offset + struct.calcsize(code):
            return None
        return int(struct.unpack_from(code, data, offset)[0])

    return TcpInfo(
        state=data[0],
        retransmits=data[2],
        unacked=u32(24),
        last_data_sent_seconds=u32(44) / 1000,
        last_data_recv_seconds=u32(52) / 1000,
        last_ack_recv_seconds=u32(56) / 1000,
        total_retrans=u32(100),
        bytes_acked=later("=Q", 120),
        bytes_received=later("=Q", 128),
        segs_out=later("=I", 136),
        segs_in=later("=I", 140),
        data_segs_in=later("=I", 152),
        data_segs_out=later("=I", 156),
    )


def of(connection: socket.socket) -> TcpInfo:
    """Raises OSError where it is no TCP socket, or none any more."""
    return parse(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MOST_BYTES))
