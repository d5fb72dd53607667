"""The layer-4 proxy behind the path ends the client's connections."""

from __future__ import annotations

from watcher.judge.case import Case
from watcher.judge.flows import JITTER_SECONDS
from watcher.judge.proofs.registry import Finding, proof
from watcher.judge.proofs.words import NO_FAULT, NOTHING_FOUND, ports, since_fault

CLOSE_SECONDS = 1.0
"""Within this time of the fault's record the proxy has closed what it was to close."""


@proof("closed-by-proxy")
def closed_by_proxy(case: Case) -> Finding:
    """Before: each flow that the fault found was closed by FIN from the server's side, and the client did not begin."""
    if case.applied is None:
        return Finding(False, NO_FAULT)
    if not case.cut:
        return Finding(False, NOTHING_FOUND)
    closings = []
    for flow in case.cut:
        end = next((end for end in flow.ends if end.t <= case.touch.sent), None)
        if end is None or end.by != "server" or end.flag != "FIN" or not end.arrived:
            seen = "nobody" if end is None else f"the {end.by}, by {end.flag}"
            return Finding(False, f"before the touch {ports([flow])} was ended first by {seen}")
        if not case.struck - JITTER_SECONDS <= end.t <= case.applied.t + CLOSE_SECONDS:
            return Finding(False, f"{ports([flow])} was closed {since_fault(case, end.t)}: not by it")
        closings.append(end.t)
    return Finding(True, f"{ports(case.cut)} closed by FIN from the server's side, {since_fault(case, max(closings))}")
