"""When a client knew that its connection was gone, had its next one, and saw the change."""

from __future__ import annotations

from collections.abc import Sequence

from watcher.judge.case import Case
from watcher.judge.flows import Flow
from watcher.judge.proofs.process import STOPPED
from watcher.judge.verdict import died

STOP_SECONDS = 5.0
"""So long at most the harness waits for a program that it asked to end; connections end meanwhile."""


def recovery(case: Case) -> dict[str, float | None]:
    """Seconds after L0. ``detected`` is what packets show: an end that reached the client, or that it sent itself.

    None where its connection outlived the fault, and also where no packet tells: the FIN of a client that gave up
    stands in line behind data that nobody acknowledges, and the kernel's own giving up is silent.
    ``detected_at_latest`` is there in the second case only: the client began another connection, taken to be in place
    of the old one, since in the end it did not hold that any more.
    """
    seen = case.facts.observed(case.touch)
    lost = tuple(expired.flow for expired in case.expired) or case.cut
    ends = [_awake(case, end.t) for flow in lost if (end := flow.client_end()) is not None]
    stop = stopped(case)
    detected = min((t for t in ends if t < stop), default=None)
    since = _since(case) if detected is None else detected
    reconnected = None
    if since is not None:
        reconnected = min(
            (f.established for f in case.flows if f.established is not None and since <= f.established < stop),
            default=None,
        )
    death = died(case)
    moments = {
        "detected": detected,
        "reconnected": reconnected,
        "observed": seen,
        "died": None if death is None else death.t,
    }
    if since is not None and detected is None and reconnected is not None and _given_up(case, lost):
        # It tries before it succeeds: where nothing works for a while, long before.
        moments["detected_at_latest"] = min(
            (f.first for f in case.flows if since <= f.first <= reconnected), default=reconnected
        )
    return {name: None if t is None else case.after_l0(t) for name, t in moments.items()}


def stopped(case: Case) -> float:
    """From when on the harness ends the program: its connections end with it, and that is no detection."""
    looked = case.facts.sockets.get("close")
    if looked is not None:
        return looked.t
    exited = case.facts.exited
    return exited.t - STOP_SECONDS if exited is not None and exited.by_harness else case.closed


def _since(case: Case) -> float | None:
    """From when on a client that was told nothing may have begun a connection in place of one that it lost."""
    if case.applied is not None:
        return case.applied.t
    return case.expired[0].at if case.expired else None


def _given_up(case: Case, lost: Sequence[Flow]) -> bool:
    """In the end the program held none of these any more, and had not ended itself: then it holds nothing."""
    held = case.held_at_last
    if held is None or not lost or died(case) is not None:
        return False
    return not any(flow.port in held for flow in lost)


def _awake(case: Case, t: float) -> float:
    """When a process that was stopped at that time could first act on what its kernel was told."""
    looked = case.facts.process.get("healed")
    frozen = looked is not None and looked.state == STOPPED and case.applied is not None
    return case.healed if frozen and case.struck <= t < case.healed else t
