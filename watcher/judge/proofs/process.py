"""What was done to the client's process itself."""

from __future__ import annotations

from watcher.judge.case import Case
from watcher.judge.proofs.registry import Finding, proof
from watcher.judge.proofs.words import NO_FAULT, ports

STOPPED = "T"
TICK_SECONDS = 0.01
"""The kernel counts CPU time in ticks of this length: one may fall to a process that has just been stopped."""


@proof("client-frozen", standing=True)
def client_frozen(case: Case) -> Finding:
    """Before: all of the client's processes were stopped, used no CPU time and sent no data until they were woken."""
    if case.applied is None:
        return Finding(False, NO_FAULT)
    moments = [case.facts.process.get(moment) for moment in ("fault", "healed")]
    during, at_end = moments
    if during is None or at_end is None:
        return Finding(False, "nobody looked at the client's process while the fault lasted")
    for looked in (during, at_end):
        if looked.state != STOPPED:
            after = looked.t - case.applied.t
            return Finding(False, f"the client's process was in state {looked.state} {after:.1f} s after the fault")
    used = at_end.cpu_seconds - during.cpu_seconds
    if used > TICK_SECONDS * 1.5:
        return Finding(False, f"the client's process used {used:.2f} s of CPU time while it was stopped")
    for flow in case.flows:
        if any(p.direction == "to-server" and p.length > 1 and case.in_force(p.t) for p in flow.packets):
            return Finding(False, f"the client sent data on {ports([flow])} while it was stopped")
    return Finding(True, f"stopped for {case.in_force_until - case.applied.t:.1f} s, without CPU time or data")
