"""What becomes of a fresh connection: the probe's, while the fault lasts or at the touch."""

from __future__ import annotations

from watcher.judge.case import Case
from watcher.judge.proofs.registry import Finding, proof
from watcher.judge.proofs.words import NO_FAULT
from watcher.records import Probed

TIMED_OUT = ("TimeoutError", "timed out")
"""One of these is in a probe's error where nobody answered it."""

GONE = ("410 as HTTP status", "410 as ERROR event")
"""How the probe says that, and in which way, the server told it that the history is gone."""


@proof("new-connections-work", standing=True)
def new_connections_work(case: Case) -> Finding:
    """After: a fresh connection through the path got an answer."""
    probes = case.probes_at_touch("virtual")
    if not probes:
        return Finding(False, "no probe was made")
    for probed in probes:
        if not probed.ok:
            return Finding(False, f"the probe failed: {why(probed)}")
    return Finding(True, f"the probe was answered within {max(probe.seconds for probe in probes):.3f} s")


@proof("new-connections-fail", standing=True)
def new_connections_fail(case: Case) -> Finding:
    """Before: while the fault lasted no fresh connection through the path got an answer, and one was tried."""
    if case.applied is None:
        return Finding(False, NO_FAULT)
    if not case.probes_in_force:
        return Finding(False, "no probe was made while the fault lasted")
    for probed in case.probes_in_force:
        if probed.ok:
            return Finding(False, f"a probe was answered {probed.t - case.applied.t:.1f} s after the fault")
    return Finding(True, f"{len(case.probes_in_force)} probes failed meanwhile: {why(case.probes_in_force[-1])}")


@proof("new-connections-unanswered", standing=True)
def new_connections_unanswered(case: Case) -> Finding:
    """Before, or after: while the fault lasted fresh connections came up, and then nobody answered on them."""
    failed = new_connections_fail(case)
    if not failed.holds:
        return failed
    for probed in case.probes_in_force:
        if not any(word in (probed.error or "") for word in TIMED_OUT):
            return Finding(False, f"a probe failed by another cause than silence: {why(probed)}")
        flow = case.probe_flow(probed)
        if flow is None or flow.established is None:
            return Finding(False, f"the probe's own connection did not come up: {why(probed)}")
        data = [packet for packet in flow.packets if packet.direction == "to-client" and packet.length]
        if data:
            return Finding(False, f"the probe was sent {sum(packet.length for packet in data)} octets")
    return Finding(
        True, f"{len(case.probes_in_force)} probes connected and got no octet: {why(case.probes_in_force[-1])}"
    )


@proof("history-gone", standing=True)
def history_gone(case: Case) -> Finding:
    """After: who resumes a watch from the control touch's version is told that this history is gone."""
    probes = case.probes_at_touch("history")
    if not probes:
        return Finding(False, "no watch was resumed")
    for probed in probes:
        if probed.ok or not any(gone in (probed.error or "") for gone in GONE):
            seen = "it went on" if probed.ok else why(probed)
            return Finding(False, f"a watch that was resumed was not told 410: {seen}")
    return Finding(True, f"a watch that was resumed was answered with {why(probes[-1])}")


def why(probed: Probed) -> str:
    """What a failed probe says of it."""
    return probed.error or "no reason given"
