"""Reading and writing packets, without sockets."""

from __future__ import annotations

import dpkt
import pytest

from watcher.lab import packets

CLIENT = bytes((10, 16, 0, 6))


def frame(
    source: bytes, destination: bytes, sport: int, dport: int, flags: int, payload: bytes = b"", pad: bytes = b""
) -> bytes:
    tcp = dpkt.tcp.TCP(sport=sport, dport=dport, seq=7, ack=9, flags=flags, off=5, data=payload)
    ip = dpkt.ip.IP(src=source, dst=destination, p=6, data=tcp, len=20 + len(tcp))
    return bytes(dpkt.ethernet.Ethernet(data=ip, type=0x0800)) + pad


def test_reads_both_directions_and_counts_only_payload() -> None:
    """Padding of short frames taken for payload would turn every ACK into data."""
    ack = packets.read(frame(CLIENT, b"\x0a\x60\0\1", 40000, 443, dpkt.tcp.TH_ACK, pad=b"\0" * 6), CLIENT)
    data = packets.read(
        frame(b"\x0a\x60\0\1", CLIENT, 443, 40000, dpkt.tcp.TH_ACK | dpkt.tcp.TH_PUSH, b"hello"), CLIENT
    )
    assert ack is not None
    assert data is not None
    assert (ack.direction, ack.port, ack.flags, ack.length, ack.next_seq) == ("to-server", 40000, "A", 0, 7)
    assert (data.direction, data.port, data.flags, data.length, data.next_seq) == ("to-client", 40000, "AP", 5, 12)


def test_foreign_and_broken_frames_are_no_segments() -> None:
    """One odd frame must not end the capture of a cell."""
    assert packets.read(frame(b"\1\2\3\4", b"\4\3\2\1", 1, 2, 2), CLIENT) is None
    assert packets.read(b"", CLIENT) is None
    assert packets.read(b"\0" * 13, CLIENT) is None
    whole = frame(CLIENT, b"\x0a\x60\0\1", 40000, 443, dpkt.tcp.TH_ACK, b"x" * 20)
    for cut in range(len(whole)):
        packets.read(whole[:cut], CLIENT)


def test_a_reset_is_a_valid_packet() -> None:
    """A kernel drops a packet with a wrong checksum, and the reset would never arrive."""
    raw = packets.reset(("10.96.0.1", 443), ("10.16.0.6", 40000), 0xFFFFFFFF)
    ip = dpkt.ip.IP(raw)
    assert (ip.data.flags, ip.data.seq, ip.data.sport, ip.data.dport) == (dpkt.tcp.TH_RST, 0xFFFFFFFF, 443, 40000)
    assert dpkt.in_cksum(raw[:20]) == 0
    pseudo = raw[12:20] + bytes((0, 6)) + (len(raw) - 20).to_bytes(2, "big")
    assert dpkt.in_cksum(pseudo + raw[20:]) == 0
    assert dpkt.in_cksum(pseudo + raw[20:-1] + b"\1") != 0


@pytest.mark.parametrize("number", [0, 1, 63, 64, 255, 65_535])
def test_addresses_name_their_cell(number: int) -> None:
    """A request that the control plane cannot serve is charged to the cell of the address it came from."""
    from watcher.lab import addresses

    link = addresses.client_link(number)
    assert addresses.cell_number(link.near) == number
    assert addresses.cell_number(addresses.server_link(number).far) is None
    assert addresses.cell_number(addresses.HARNESS_ADDRESS) is None
