"""Packets get through no more: of the flows that the fault found, or at all; or the path resets them."""

from __future__ import annotations

from watcher.judge.case import Case
from watcher.judge.flows import JITTER_SECONDS, Seen
from watcher.judge.proofs.registry import Finding, proof
from watcher.judge.proofs.words import NO_FAULT, NOTHING_FOUND, ports, since_fault, when
from watcher.records import Direction

CUT_COUNTERS: dict[Direction, str] = {"to-server": "blackhole-to-server", "to-client": "blackhole-to-client"}
"""Names of the path's rules that drop packets of cut flows."""

OTHER: dict[Direction, Direction] = {"to-server": "to-client", "to-client": "to-server"}


@proof("flow-cut")
def flow_cut(case: Case) -> Finding:
    """Before: no packet of the flows that the fault found got through after it, and at least one tried."""
    return _cut(case, case.healing, "to-server", "to-client")


@proof("flow-cut-to-client")
def flow_cut_to_client(case: Case) -> Finding:
    """Before: as flow-cut, but towards the client only; what it sends itself still gets through."""
    return _one_way(case, "to-client")


@proof("flow-cut-to-server")
def flow_cut_to_server(case: Case) -> Finding:
    """Before: as flow-cut, but towards the server only; what that sends still gets through."""
    return _one_way(case, "to-server")


@proof("path-dark", standing=True)
def path_dark(case: Case) -> Finding:
    """Before: while the fault lasted nothing at all crossed between the client and anybody, and something tried."""
    if case.applied is None:
        return Finding(False, NO_FAULT)
    meanwhile = [packet for packet in case.every_packet if case.in_force(packet.t)]
    crossed = [packet for packet in meanwhile if packet.crossed]
    if crossed:
        return Finding(False, f"{len(crossed)} packets crossed meanwhile, first {since_fault(case, crossed[0].t)}")
    stopped = sum(packet.stopped for packet in meanwhile)
    counted = _counted(case, "to-server", "to-client")
    if not stopped and not counted:
        return Finding(False, "nothing was stopped meanwhile: nobody sent anything")
    lasted = case.in_force_until - case.applied.t
    return Finding(True, f"{stopped} packets stopped in {lasted:.1f} s, {counted} counted as dropped; none crossed")


@proof("reset-by-path")
def reset_by_path(case: Case) -> Finding:
    """Before: the path reset each flow that the fault found, towards the client, with the number that it expects."""
    if case.applied is None:
        return Finding(False, NO_FAULT)
    if not case.cut:
        return Finding(False, NOTHING_FOUND)
    first = None
    for flow in case.cut:
        resets = [
            end
            for end in flow.ends
            if end.by == "path"
            and end.flag == "RST"
            and end.direction == "to-client"
            and case.struck - JITTER_SECONDS <= end.t <= case.touch.sent
        ]
        exact = next((reset for reset in resets if reset.exact), None)
        if exact is None:
            wrong = "only with a wrong sequence number" if resets else "not at all"
            return Finding(False, f"between fault and touch the path reset {ports([flow])} towards the client {wrong}")
        first = exact if first is None or exact.t < first.t else first
    assert first is not None
    return Finding(True, f"{ports(case.cut)} reset by the path towards the client, {since_fault(case, first.t)}")


def _cut(case: Case, until: float, *ways: Direction) -> Finding:
    if case.applied is None:
        return Finding(False, NO_FAULT)
    if not case.cut:
        return Finding(False, NOTHING_FOUND)
    after = _after_fault(case, *ways)
    crossed = [packet for packet in after if packet.crossed and packet.t < until]
    if crossed:
        return Finding(False, f"{len(crossed)} packets crossed after the fault, first {when(case, crossed[0].t)}")
    stopped = sum(packet.stopped for packet in after)
    counted = _counted(case, *ways)
    if not stopped and not counted:
        return Finding(False, f"nothing was stopped on {ports(case.cut)}: nobody sent anything")
    return Finding(True, f"{stopped} packets seen on one link only, {counted} counted as dropped; none crossed")


def _one_way(case: Case, way: Direction) -> Finding:
    cut, back = _cut(case, case.in_force_until, way), OTHER[way]
    if not cut.holds:
        return cut
    stopped = [packet for packet in _after_fault(case, back) if packet.stopped and case.in_force(packet.t)]
    if stopped:
        return Finding(False, f"{len(stopped)} packets {back} were stopped too, first {when(case, stopped[0].t)}")
    counted = _counted(case, back)
    if counted:
        return Finding(False, f"{counted} packets {back} were counted as dropped too")
    passed = sum(packet.crossed for packet in _after_fault(case, back))
    return Finding(True, f"{way}: {cut.seen}; {back}: {passed} crossed, none was stopped")


def _after_fault(case: Case, *ways: Direction) -> list[Seen]:
    """Packets of the flows that the fault found, while it was not healed."""
    assert case.applied is not None
    since = case.applied.t + JITTER_SECONDS
    return [p for flow in case.cut for p in flow.packets if since < p.t < case.healed and p.direction in ways]


def _counted(case: Case, *ways: Direction) -> int:
    """What the path's rules counted as dropped, by the last time that they were read."""
    by_moment = case.facts.counters.values()
    return max((sum(each.packets.get(CUT_COUNTERS[way], 0) for way in ways) for each in by_moment), default=0)
