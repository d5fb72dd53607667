"""The server behind the path ends its connections, or is gone without a word."""

from __future__ import annotations

from watcher.judge.case import Case
from watcher.judge.flows import JITTER_SECONDS, End, Flow, Seen
from watcher.judge.proofs.connections import why
from watcher.judge.proofs.registry import Finding, proof
from watcher.judge.proofs.words import NO_FAULT, NOTHING_FOUND, ports, since_fault
from watcher.records import FlowKey

UNREACHABLE = "No route to host"
"""The text of EHOSTUNREACH: a router has said that there is no such host."""

GOOD_BYE_SECONDS = 2.0
"""A client that closes this soon after the server's last data acts on what stands in it."""


@proof("ended-by-server")
def ended_by_server(case: Case) -> Finding:
    """Before: the server ended each flow that the fault found, by FIN or RST.

    A client may have closed its side first where the server had said good-bye by data: the end of the watch, a GOAWAY.
    """
    if case.applied is None:
        return Finding(False, NO_FAULT)
    if not case.cut:
        return Finding(False, NOTHING_FOUND)
    said, flags, last = 0, set(), case.struck
    for flow in case.cut:
        ends = [end for end in flow.ends if case.struck - JITTER_SECONDS <= end.t <= case.touch.sent]
        if not ends:
            return Finding(False, f"the server did not end {ports([flow])} between fault and touch")
        first = ends[0]
        if first.by == "client" and _good_bye(case, flow, first):
            # It may reset the connection at once, and then the server's own FIN is never sent.
            said += 1
        elif first.by != "server":
            return Finding(False, f"{ports([flow])} was ended first by the {first.by}, by {first.flag}")
        else:
            flags.add(first.flag)
        last = max(last, first.t)
    how = " and ".join(sorted(flags)) or "its last data, upon which the client closed"
    after = f"; on {said} of them the client had closed after the server's last data" if said and flags else ""
    return Finding(True, f"{ports(case.cut)} ended by the server, by {how}, {since_fault(case, last)}{after}")


@proof("server-gone", standing=True)
def server_gone(case: Case) -> Finding:
    """After: the server that was there at first takes no connection, and was not heard of again after the fault."""
    return _gone(case)


@proof("server-unreachable", standing=True)
def server_unreachable(case: Case) -> Finding:
    """After: as server-gone, and a router says that there is no such host."""
    gone = _gone(case)
    for probed in case.probes_at_touch("server"):
        if gone.holds and UNREACHABLE not in (probed.error or ""):
            return Finding(False, f"nobody said that the server is unreachable: {why(probed)}")
    return gone


@proof("conntrack-stale")
def conntrack_stale(case: Case) -> Finding:
    """Before: the path still leads each flow that the fault found to the server that is silent, and new ones elsewhere.

    Where the client has ended the flow by the touch, its packets after the fault must have gone that way.
    """
    if case.applied is None:
        return Finding(False, NO_FAULT)
    if not case.cut:
        return Finding(False, NOTHING_FOUND)
    found = {key.port: key.server for key in case.applied.flows}
    states = []
    for flow in case.cut:
        name, server = ports([flow]), found.get(flow.port)
        if server is None:
            return Finding(False, f"the fault did not record where {name} led")
        heard = _heard(case, flow)
        if heard:
            return Finding(False, f"{name} was not silent: {len(heard)} packets of the server's after the fault")
        entry = _entry(case, flow)
        if entry is not None and entry.state == "ESTABLISHED":
            if entry.server != server:
                return Finding(False, f"{name} led to {server} at the fault and to {entry.server} at the touch")
            states.append(f"{name} still leads to {server}")
        elif _ended_unheard(case, flow):
            states.append(f"{name} was given up by the client; its packets had gone to {server}")
        else:
            return Finding(False, f"{name} is not ESTABLISHED any more: {'no entry' if entry is None else entry.state}")
    elsewhere = _elsewhere(case, {server for server in found.values() if server is not None})
    if not elsewhere.holds:
        return elsewhere
    return Finding(True, f"{'; '.join(states)}; {elsewhere.seen}")


@proof("flow-forgotten")
def flow_forgotten(case: Case) -> Finding:
    """Before: the path leads no flow that the fault found to the server that is gone any more; what the client sent on
    one since then got through, to another server.
    """
    if case.applied is None:
        return Finding(False, NO_FAULT)
    if not case.cut:
        return Finding(False, NOTHING_FOUND)
    found = {key.port: key.server for key in case.applied.flows}
    states = []
    for flow in case.cut:
        name, server, entry = ports([flow]), found.get(flow.port), _entry(case, flow)
        if server is None:
            return Finding(False, f"the fault did not record where {name} led")
        if entry is not None and entry.server == server:
            return Finding(False, f"{name} still led to {server} at the touch: {entry.state}")
        sent = _sent(case, flow)
        lost = [packet for packet in sent if not (packet.crossed and packet.server)]
        if lost:
            where = "the server that is gone" if lost[0].crossed else "nobody"
            return Finding(
                False, f"{len(lost)} packets of {name} went to {where}, first {since_fault(case, lost[0].t)}"
            )
        states.append(f"{name} is forgotten, and {_answered(case, flow) if sent else 'nothing was sent on it'}")
    elsewhere = _elsewhere(case, {server for server in found.values() if server is not None})
    return Finding(True, f"{'; '.join(states)}; {elsewhere.seen}") if elsewhere.holds else elsewhere


def _sent(case: Case, flow: Flow) -> list[Seen]:
    """By the client, between fault and touch, but for its own end of the flow: that opens nothing anew."""
    assert case.applied is not None
    since, until = case.applied.t + JITTER_SECONDS, case.touch.sent
    return [p for p in flow.packets if since < p.t <= until and p.sender == "client" and not p.ends]


def _answered(case: Case, flow: Flow) -> str:
    """What became of packets that another server got: it has no such connection, so its kernel resets it."""
    resets = [p for p in flow.packets if p.server and p.crossed and "R" in p.flags and p.direction == "to-client"]
    return f"{resets[0].server} reset it {since_fault(case, resets[0].t)}" if resets else "nobody answered"


def _gone(case: Case) -> Finding:
    """Says nothing of flows where the fault found none: the server is gone all the same."""
    if case.applied is None:
        return Finding(False, NO_FAULT)
    probes = case.probes_at_touch("server")
    if not probes:
        return Finding(False, "nobody tried to connect to the server itself")
    for probed in probes:
        if probed.ok:
            return Finding(False, f"the server itself took a connection within {probed.seconds:.3f} s")
    for flow in case.cut:
        heard = _heard(case, flow)
        if heard:
            first = since_fault(case, heard[0].t)
            return Finding(False, f"{len(heard)} packets of the server's on {ports([flow])}, first {first}")
    quiet = f", and nothing came from it on {ports(case.cut)}" if case.cut else ""
    return Finding(True, f"no connection to the server itself ({why(probes[-1])}){quiet}")


def _good_bye(case: Case, flow: Flow, end: End) -> bool:
    """Just before the client's end of it, and after the fault, the server sent data, and that reached the client."""
    return any(
        packet.direction == "to-client"
        and packet.length
        and packet.crossed
        and max(case.struck, end.t - GOOD_BYE_SECONDS) <= packet.t <= end.t
        for packet in flow.packets
    )


def _heard(case: Case, flow: Flow) -> list[Seen]:
    """What the server that was there at first sent on a flow when the fault was in force."""
    assert case.applied is not None
    since = case.applied.t + JITTER_SECONDS
    return [
        packet for packet in flow.packets if packet.t > since and packet.sender == "server" and packet.server is None
    ]


def _entry(case: Case, flow: Flow) -> FlowKey | None:
    if case.conntrack_state(flow) is None or case.conntrack is None:
        return None
    return next(key for key in case.conntrack.flows if key.port == flow.port)


def _ended_unheard(case: Case, flow: Flow) -> bool:
    """The client ended the flow itself, and what it sent after the fault was forwarded: to whom nobody answers for."""
    assert case.applied is not None
    since = case.applied.t
    ended = any(end.by == "client" and since < end.t <= case.touch.sent for end in flow.ends)
    return ended and any(
        packet.direction == "to-server" and packet.crossed and since < packet.t <= case.touch.sent
        for packet in flow.packets
    )


def _elsewhere(case: Case, stale: set[str]) -> Finding:
    """New connections work, and lead to another server as far as conntrack had a look at one."""
    probes = case.probes_at_touch("virtual")
    if not probes or not all(probed.ok for probed in probes):
        return Finding(False, "new connections do not work" if probes else "no probe was made")
    for probed in probes:
        for looked in case.facts.conntrack.values():
            for key in looked.flows:
                if key.port == probed.port and looked.t >= probed.t - probed.seconds and key.server in stale:
                    return Finding(False, f"a new connection was led to {key.server}, too")
    return Finding(True, "new connections work")
