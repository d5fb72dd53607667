"""The proofs of a packet that conntrack calls INVALID: where it got to, and what the kernels made of it.

Such a packet is known by its number alone: data from the server, on a flow that the fault found, further ahead than any
window reaches. How it came to be sent is of no account here.
"""

from __future__ import annotations

from collections.abc import Callable

from watcher.judge.case import Case, Incomplete
from watcher.judge.flows import Flow, Seen, beyond_window, later, travelled
from watcher.judge.proofs.idle import ANSWER_SECONDS
from watcher.judge.proofs.registry import Finding, proof
from watcher.records import Direction, Socket


@proof("packet-dropped")
def packet_dropped(case: Case) -> Finding:
    """Before: on every flow the packet left the server, and the path let nothing of it through."""
    return _each(case, _dropped)


@proof("packet-leaked")
def packet_leaked(case: Case) -> Finding:
    """Before: on every flow the packet reached the client with the server's own address, the client's kernel reset
    that address, the reset reached the server with exactly the number that it expects, and the server closed.
    """
    return _each(case, _leaked)


@proof("packet-translated")
def packet_translated(case: Case) -> Finding:
    """Before: on every flow the packet reached the client as from the virtual address, and nobody was reset."""
    return _each(case, _translated)


@proof("delivered-unless-closed")
def delivered_unless_closed(case: Case) -> Finding:
    """After: the event crossed on a flow that the fault had found, unless the client itself had ended all of those."""
    since = case.touch.sent
    left = []
    for flow in case.cut:
        end = flow.client_end()
        if end is None or end.t > since:
            left.append(flow)
        elif end.by != "client":
            return Finding(False, f"the {end.by} ended port {flow.port} with {end.flag} before the touch")
    if not case.cut:
        return Finding(False, "the client had no established flow at the fault")
    if not left:
        return Finding(True, "the client itself had ended every flow before the touch")
    for flow in left:
        for packet in flow.packets:
            if packet.t >= since and packet.direction == "to-client" and packet.length and packet.crossed:
                return Finding(True, f"{packet.length} octets on port {flow.port}, {packet.t - since:+.3f} s")
    return Finding(False, f"no data reached the client after the touch on port {', '.join(_ports(left))}")


def _each(case: Case, look: Callable[[Case, Flow, Seen, list[Seen]], Finding]) -> Finding:
    if case.applied is None:
        return Finding(False, "no fault was applied")
    if not case.cut:
        return Finding(False, "the client had no established flow at the fault")
    seen = ""
    for flow in case.cut:
        packets = _of_port(case, flow)
        wild = [packet for packet in packets if _is_wild(flow, packet)]
        if not wild:
            return Finding(False, f"no packet outside the window was seen on port {flow.port}")
        for packet in wild:
            holds, seen = look(case, flow, packet, packets)
            if not holds:
                return Finding(False, f"port {flow.port}: {seen}")
    return Finding(True, f"port {', '.join(_ports(case.cut))}: {seen}")


def _dropped(_case: Case, _flow: Flow, packet: Seen, packets: list[Seen]) -> Finding:
    if any(other.at_client is not None and other.seq == packet.seq for other in packets):
        return Finding(False, "the packet outside the window reached the client")
    return Finding(True, "a packet outside the window left the server and did not reach the client")


def _leaked(case: Case, flow: Flow, packet: Seen, packets: list[Seen]) -> Finding:
    if packet.at_client is None:
        return Finding(False, "the packet outside the window did not reach the client")
    if packet.peer is None or packet.peer != _server_of(case, flow):
        return Finding(False, f"the packet outside the window came from {packet.peer or 'the virtual address'}")
    resets = [
        other
        for other in packets
        if "R" in other.flags and other.sender == "client" and 0 <= other.t - packet.t <= ANSWER_SECONDS
    ]
    reset = next((other for other in resets if other.peer == packet.peer), None)
    if reset is None:
        return Finding(False, f"the client did not reset {packet.peer}")
    if not reset.crossed:
        return Finding(False, f"the client's RST to {packet.peer} did not reach it")
    if reset.seq != _expected(flow, "to-server", packet.t):
        return Finding(False, f"the client's RST to {packet.peer} has another number than the server expects")
    if not _server_answered_reset(flow, packet.t) and _server_socket(case, flow) is not None:
        return Finding(False, "the server still had its socket at the touch")
    return Finding(True, f"a packet came from {packet.peer} itself, the client's kernel reset that, the server closed")


def _translated(case: Case, flow: Flow, packet: Seen, packets: list[Seen]) -> Finding:
    if packet.at_client is None:
        return Finding(False, "the packet outside the window did not reach the client")
    if packet.peer is not None:
        return Finding(False, f"the packet outside the window came from {packet.peer}")
    if any("R" in other.flags and 0 <= other.t - packet.t <= ANSWER_SECONDS for other in packets):
        return Finding(False, "the packet outside the window was answered with a RST")
    end = flow.client_end()
    closed = end is not None and end.by == "client" and end.t <= case.touch.sent
    if not closed and _server_socket(case, flow) is None:
        return Finding(False, "the server had no socket any more at the touch")
    return Finding(True, "a packet outside the window came from the virtual address, and nobody was reset")


def _of_port(case: Case, flow: Flow) -> list[Seen]:
    """All packets of the flow's port from L0 to the touch, whatever address the path wrote into them."""
    return [
        packet
        for packet in travelled(sight for sight in case.facts.packets if sight.port == flow.port)
        if max(case.l0, flow.first) <= packet.t <= case.touch.sent
    ]


def _is_wild(flow: Flow, packet: Seen) -> bool:
    data = packet.direction == "to-client" and packet.sender == "server" and packet.length > 0
    return data and beyond_window(_expected(flow, "to-client", packet.t), packet.seq)


def _expected(flow: Flow, direction: Direction, at: float) -> int | None:
    """The next number on the flow in that direction by the packets that crossed before then."""
    number: int | None = None
    for packet in flow.packets:
        if packet.t >= at:
            break
        if packet.direction == direction and packet.crossed and "R" not in packet.flags:
            number = number if beyond_window(number, packet.seq) else later(number, packet.next_seq)
    return number


def _server_of(case: Case, flow: Flow) -> str | None:
    """The address that conntrack led the flow to when the fault found it."""
    assert case.applied is not None
    server = next((known.server for known in case.applied.flows if known.port == flow.port), None)
    return None if server is None else server.rpartition(":")[0]


def _server_answered_reset(flow: Flow, since: float) -> bool:
    """The server's kernel did not know the flow any more when something came on it."""
    return any(end.by == "server" and end.flag == "RST" and end.t > since for end in flow.ends)


def _server_socket(case: Case, flow: Flow) -> Socket | None:
    recorded = case.facts.server_sockets.get("touch")
    if recorded is None:
        raise Incomplete("the server's sockets at the touch were not recorded")
    return next((socket for socket in recorded.sockets if socket.port == flow.port), None)


def _ports(flows: list[Flow] | tuple[Flow, ...]) -> list[str]:
    return [str(flow.port) for flow in flows]
