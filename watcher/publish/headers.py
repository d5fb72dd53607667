"""A capture without what the packets carried: frames cut behind their TCP header, times and lengths as they were."""

from __future__ import annotations

import struct
from collections.abc import Iterator

ETHERNET = 14
MOST_OCTETS = 96
"""Of a frame that is not TCP: neighbour discovery and ICMP, whose quotations end before."""

_FILE_HEADER = 24
_RECORD_HEADER = 16
_ORDERS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",  # nanoseconds
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
}
_SNAP_LENGTH = slice(16, 20)


def trimmed(pcap: bytes) -> bytes:
    """The capture with headers only; a last packet that a crash cut short is left out. Raises ValueError for anything
    that is not a pcap file.

    dpkt's writer knows no packet that was longer than what is kept of it, so the records are copied by hand.
    """
    order = _ORDERS.get(pcap[:4])
    if order is None or len(pcap) < _FILE_HEADER:
        raise ValueError("not a pcap file")
    return b"".join((pcap[: _SNAP_LENGTH.start], struct.pack(f"{order}I", 65_536), pcap[_SNAP_LENGTH.stop : 24])) + (
        b"".join(_records(pcap, order))
    )


def _records(pcap: bytes, order: str) -> Iterator[bytes]:
    header = struct.Struct(f"{order}IIII")
    at = _FILE_HEADER
    while at + _RECORD_HEADER <= len(pcap):
        seconds, fraction, kept, length = header.unpack_from(pcap, at)
        at += _RECORD_HEADER
        frame = pcap[at : at + kept]
        if len(frame) < kept:
            return
        at += kept
        frame = frame[: _octets_of_headers(frame)]
        yield header.pack(seconds, fraction, len(frame), length) + frame


def _octets_of_headers(frame: bytes) -> int:
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) > ETHERNET + 9:
        protocol, tcp = frame[ETHERNET + 9], ETHERNET + (frame[ETHERNET] & 0xF) * 4
    elif kind == b"\x86\xdd" and len(frame) > ETHERNET + 6:
        protocol, tcp = frame[ETHERNET + 6], ETHERNET + 40
    else:
        return MOST_OCTETS
    if protocol != 6:
        return MOST_OCTETS
    offset = tcp + 12
    return offset + 4 if len(frame) <= offset else tcp + (frame[offset] >> 4) * 4
