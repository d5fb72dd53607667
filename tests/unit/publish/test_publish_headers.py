"""Captures are published without what their packets carried."""

from __future__ import annotations

import io
import struct

import dpkt
import pytest

from tests.unit.publish.runs import SECRET, capture, pcap
from watcher.publish.headers import trimmed


def test_headers_stay_and_payload_goes() -> None:
    """What a client and its API server said to each other is published; or a reader misses flags, numbers or times."""
    whole = capture(packets=4)
    assert whole.count(SECRET) == 200
    cut = trimmed(whole)
    assert SECRET not in cut
    assert SECRET[:4] not in cut
    before, after = (list(dpkt.pcap.Reader(io.BytesIO(data))) for data in (whole, cut))
    assert [time for time, _ in after] == [time for time, _ in before]
    for (_, old), (_, new) in zip(before, after, strict=True):
        assert old.startswith(new)
        tcp = dpkt.ethernet.Ethernet(new).data.data
        assert (tcp.sport, tcp.seq, tcp.flags, len(tcp.opts), bytes(tcp.data)) == (40_000, 7, 16, 12, b"")


def test_the_length_on_the_wire_is_kept() -> None:
    """A reader of the capture takes an event for an empty acknowledgement."""
    whole = capture(packets=1)
    kept, length = struct.unpack_from("<II", trimmed(whole), 24 + 8)
    assert kept == 14 + 20 + 32
    assert length == kept + 50 * len(SECRET) == struct.unpack_from("<II", whole, 24 + 8)[1]


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order(order: str) -> None:
    """A capture from another machine is cut at random."""
    frame = bytes(dpkt.ethernet.Ethernet(type=0x0806, data=b"z" * 300))
    file = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1500, 1)
    file += struct.pack(f"{order}IIII", 1, 2, len(frame), len(frame)) + frame
    (found,) = dpkt.pcap.Reader(io.BytesIO(trimmed(file)))
    assert found[1] == frame[:96]


@pytest.mark.parametrize("cut", [1, 700, 815])
def test_a_capture_that_was_cut_short_keeps_its_whole_packets(cut: int) -> None:
    """The lab was killed, and its last cell cannot be published."""
    whole = capture(packets=3)
    assert trimmed(whole[:-cut]) == trimmed(capture(packets=2))


@pytest.mark.parametrize("frame", [b"", b"\x00" * 12 + b"\x08\x00", b"\x00" * 12 + b"\x08\x00\x45" + b"\x06" * 12])
def test_odd_frames(frame: bytes) -> None:
    """One broken frame, and the run cannot be published."""
    assert [bytes(kept) for _, kept in dpkt.pcap.Reader(io.BytesIO(trimmed(pcap([frame]))))] == [frame]


@pytest.mark.parametrize("data", [b"", b"\xd4\xc3\xb2\xa1", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_capture(data: bytes) -> None:
    """A file of another kind is published unseen."""
    with pytest.raises(ValueError, match="not a pcap file"):
        trimmed(data)
