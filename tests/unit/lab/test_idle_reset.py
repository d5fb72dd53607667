"""The load balancer that resets idle flows: sequence numbers and idleness, without a network."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watcher.lab.idle_reset import Expiry, IdleFlows
from watcher.lab.packets import Segment


def segment(direction: str, flags: str, seq: int, length: int = 0, port: int = 40_000, ack: int = 0) -> Segment:
    return Segment(direction=direction, port=port, flags=flags, seq=seq, ack=ack, length=length)  # type: ignore[arg-type]


def opened(flows: IdleFlows, *, client: int = 1000, server: int = 9000, at: float = 0.0) -> None:
    flows.see(segment("to-server", "S", client), at)
    flows.see(segment("to-client", "SA", server), at)
    flows.see(segment("to-server", "A", client + 1), at)


def test_an_idle_flow_is_reset_with_exactly_the_next_numbers() -> None:
    """A reset with any other number is ignored by the receiver (RFC 5961), and the scenario would prove nothing."""
    flows = IdleFlows(20)
    opened(flows)
    flows.see(segment("to-server", "PA", 1001, 50), 1.0)
    flows.see(segment("to-client", "PA", 9001, 700), 2.0)
    assert flows.next_expiry() == 22.0
    assert flows.expire(21.9) == []
    assert flows.expire(22.0) == [Expiry(port=40_000, to_client_seq=9701, to_server_seq=1051)]
    assert flows.next_expiry() is None


def test_a_keepalive_probe_keeps_the_flow_and_does_not_turn_its_numbers_back() -> None:
    """A probe repeats an old sequence number; taking it for the newest would send a reset that nobody accepts."""
    flows = IdleFlows(20)
    opened(flows)
    flows.see(segment("to-server", "PA", 1001, 50), 1.0)
    flows.see(segment("to-server", "A", 1050), 15.0)
    assert flows.expire(22.0) == []
    assert flows.expire(35.0) == [Expiry(port=40_000, to_client_seq=9001, to_server_seq=1051)]


def test_a_flow_that_is_being_closed_is_left_alone() -> None:
    """A cloud does not reset a connection that ended by itself."""
    for ending in ("FA", "R", "RA"):
        flows = IdleFlows(20)
        opened(flows)
        flows.see(segment("to-server", ending, 1001), 1.0)
        assert flows.expire(100.0) == []


def test_a_flow_whose_opening_was_not_seen_is_not_followed() -> None:
    """Its numbers cannot be known."""
    flows = IdleFlows(20)
    flows.see(segment("to-client", "PA", 5, 10), 0.0)
    assert flows.next_expiry() is None


@given(start=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 70_000), max_size=20))
def test_numbers_wrap_at_two_to_the_32(start: int, lengths: list[int]) -> None:
    """A long-lived connection wraps; its reset must still fit."""
    flows = IdleFlows(20)
    opened(flows, server=start)
    seq = (start + 1) % 2**32
    for length in lengths:
        flows.see(segment("to-client", "PA", seq, length), 1.0)
        seq = (seq + length) % 2**32
    assert flows.expire(30.0)[0].to_client_seq == seq
