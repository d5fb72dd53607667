"""Nothing was done to the client's flows, and what came for it was delivered."""

from __future__ import annotations

from watcher.judge.case import Case
from watcher.judge.proofs.registry import Finding, proof
from watcher.judge.proofs.words import ports, when


@proof("no-fault")
def no_fault(case: Case) -> Finding:
    """Before: the path did nothing to the client's flows."""
    if case.applied is not None:
        return Finding(False, f"fault {case.applied.name} was applied")
    resets = case.path_resets("to-client", case.closed) + case.path_resets("to-server", case.closed)
    if resets:
        return Finding(False, f"the path itself sent {len(resets)} RST")
    if case.expired:
        return Finding(False, f"{ports(e.flow for e in case.expired)} had expired")
    return Finding(True, "no fault, no reset by the path, nothing expired")


@proof("delivered-on-established-flow")
def delivered_on_established_flow(case: Case) -> Finding:
    """After: the event of the touch crossed the path on a connection that was there before it."""
    for flow in case.flows:
        if flow.established is not None and flow.established <= case.touch.sent:
            for packet in case.payload_to_client(flow):
                if packet.crossed:
                    return Finding(True, f"{packet.length} octets on port {flow.port}, {when(case, packet.t)}")
    return Finding(False, f"no data reached the client after the touch on {ports(case.open_at_touch)}")
