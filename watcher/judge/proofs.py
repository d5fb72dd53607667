"""The proofs that a scenario names, each a predicate over packets, conntrack and kernel counters.

None asks whether a fault's own code ran. Adding one is adding a function here under ``@proof("its-name")``; it is
found by that name in ``scenarios/*.toml``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from watcher.errors import UsageError
from watcher.judge.case import Case
from watcher.judge.flows import JITTER_SECONDS, End, Flow, Seen
from watcher.model import Evidence
from watcher.records import Direction

CUT_COUNTERS = ("blackhole-to-server", "blackhole-to-client")
"""Names of the path's rules that drop packets of cut flows."""

ANSWER_SECONDS = 1.0
"""Within this time of a packet the path answers it with a reset, if it does."""


class Finding(NamedTuple):
    """Whether a proof holds, and what was seen, in plain words."""

    holds: bool
    seen: str


Proof = Callable[[Case], Finding]
PROOFS: dict[str, Proof] = {}


def proof(name: str) -> Callable[[Proof], Proof]:
    def register(function: Proof) -> Proof:
        if name in PROOFS:
            raise ValueError(f"two proofs named {name!r}")
        PROOFS[name] = function
        return function

    return register


def check(evidence: Evidence) -> None:
    """Raises UsageError where a scenario names a proof that does not exist."""
    for name in (*evidence.before, *evidence.after):
        if name not in PROOFS:
            raise UsageError(f"unknown proof {name!r}", advice=f"there are: {', '.join(sorted(PROOFS))}")


@proof("no-fault")
def no_fault(case: Case) -> Finding:
    """Before: the path did nothing to the client's flows."""
    if case.applied is not None:
        return Finding(False, f"fault {case.applied.name} was applied")
    resets = case.path_resets("to-client", case.closed) + case.path_resets("to-server", case.closed)
    if resets:
        return Finding(False, f"the path itself sent {len(resets)} RST")
    if case.expired:
        return Finding(False, f"{_names(e.flow for e in case.expired)} had expired")
    return Finding(True, "no fault, no reset by the path, nothing expired")


@proof("idle-expired")
def idle_expired(case: Case) -> Finding:
    """Before: the watch's flow, and every other one of that time, was idle for the timeout and is forgotten."""
    idle = case.plan.timing.idle_timeout_seconds
    if idle is None:
        return Finding(False, "the path has no idle timeout")
    if not case.expired:
        return Finding(False, f"no flow was silent for {idle:g} s ({_longest(case)})")
    first = case.expired[0]
    gone = [expired.flow for expired in case.expired]
    awake = [flow for flow in case.open_at_touch if flow not in gone and flow.first < first.at]
    if awake:
        return Finding(False, f"{_names(awake)} was not silent for {idle:g} s ({_longest(case)})")
    if not case.watch_expired:
        return Finding(False, f"{_names(gone)} expired, but the watch was not on it")
    for flow in gone:
        state = case.conntrack_state(flow)
        if state is not None:
            return Finding(False, f"{_names([flow])} was silent for {idle:g} s, but conntrack still had it: {state}")
    return Finding(True, f"{_names(gone)} silent for {idle:g} s and forgotten")


@proof("reset-to-client")
def reset_to_client(case: Case) -> Finding:
    """Before: the path reset each expired flow towards the client, with the sequence number that it expects."""
    return _reset(case, "to-client")


@proof("reset-to-server")
def reset_to_server(case: Case) -> Finding:
    """Before: the path reset each expired flow towards the server, with the sequence number that it expects."""
    return _reset(case, "to-server")


@proof("no-reset-to-client")
def no_reset_to_client(case: Case) -> Finding:
    """Before: nobody told the client."""
    resets = case.path_resets("to-client", case.touch.sent)
    if resets:
        times = ", ".join(f"{case.after_l0(packet.t):g} s" for _, packet in resets[:3])
        return Finding(False, f"the path reset the client {times} after L0")
    return Finding(True, "no reset reached the client before the touch")


@proof("flow-cut")
def flow_cut(case: Case) -> Finding:
    """Before: no packet of the flows that the fault found got through after it, and at least one tried."""
    if case.applied is None:
        return Finding(False, "no fault was applied")
    if not case.cut:
        return Finding(False, "the client had no established flow at the fault")
    since = case.applied.t + JITTER_SECONDS
    after = [packet for flow in case.cut for packet in flow.packets if since < packet.t < case.healed]
    crossed = [packet for packet in after if packet.crossed]
    if crossed:
        return Finding(False, f"{len(crossed)} packets crossed after the fault, first {_when(case, crossed[0].t)}")
    stopped = sum(packet.stopped for packet in after)
    by_moment = case.facts.counters.values()
    counted = max((sum(each.packets.get(name, 0) for name in CUT_COUNTERS) for each in by_moment), default=0)
    if not stopped and not counted:
        return Finding(False, f"nothing was stopped on {_names(case.cut)}: nobody sent anything")
    return Finding(True, f"{stopped} packets seen on one link only, {counted} counted as dropped; none crossed")


@proof("delivered-on-established-flow")
def delivered_on_established_flow(case: Case) -> Finding:
    """After: the event of the touch crossed the path on a connection that was there before it."""
    for flow in case.flows:
        if flow.established is not None and flow.established <= case.touch.sent:
            for packet in _payload_to_client(case, flow):
                if packet.crossed:
                    return Finding(True, f"{packet.length} octets on port {flow.port}, {_when(case, packet.t)}")
    return Finding(False, f"no data reached the client after the touch on {_names(case.open_at_touch)}")


@proof("event-not-forwarded")
def event_not_forwarded(case: Case) -> Finding:
    """After: the server sent the event on the expired flow, and the path let nothing of it through."""
    stopped = None
    for expired in case.expired:
        for packet in _payload_to_client(case, expired.flow):
            if packet.at_client is not None:
                return Finding(False, f"data on the expired port {expired.flow.port} reached the client")
            stopped = stopped or packet
    if stopped is None:
        return Finding(False, f"the server sent no event on {_names(e.flow for e in case.expired)}")
    return Finding(True, f"the server's event {_when(case, stopped.t)} was not forwarded")


@proof("server-reset-on-next-packet")
def server_reset_on_next_packet(case: Case) -> Finding:
    """After: the event drew the path's RST back to the server."""
    sent = 0
    for expired in case.expired:
        events = [packet for packet in _payload_to_client(case, expired.flow) if packet.stopped]
        sent += len(events)
        for reset in _resets(expired.flow, "to-server"):
            if reset.exact and any(0 <= reset.t - event.t <= ANSWER_SECONDS for event in events):
                return Finding(True, f"the path answered the server's event with RST, {_when(case, reset.t)}")
    return Finding(False, f"{sent} events sent on expired flows, none answered by the path's RST")


@proof("new-connections-work")
def new_connections_work(case: Case) -> Finding:
    """After: a fresh connection through the path got an answer."""
    if not case.facts.probes:
        return Finding(False, "no probe was made")
    for probed in case.facts.probes:
        if not probed.ok:
            return Finding(False, f"the probe failed: {probed.error or 'no reason given'}")
    return Finding(True, f"the probe was answered within {max(probe.seconds for probe in case.facts.probes):.3f} s")


def _reset(case: Case, direction: Direction) -> Finding:
    """Each expired flow needs its reset, unless the client had ended it by then: such a flow the path has let go."""
    told = 0
    for expired in case.expired:
        resets = [reset for reset in _resets(expired.flow, direction) if reset.t <= case.touch.sent]
        if any(reset.exact for reset in resets):
            told += 1
        elif resets:
            return Finding(False, f"the RST {direction} on {_names([expired.flow])} has a wrong sequence number")
        elif not any(end.by == "client" and end.t <= case.touch.sent for end in expired.flow.ends):
            return Finding(False, f"no RST {direction} on {_names([expired.flow])} before the touch")
    return Finding(True, f"{told} of {len(case.expired)} expired flows reset {direction}")


def _resets(flow: Flow, direction: Direction) -> list[End]:
    """The path's own resets of a flow towards one side."""
    return [end for end in flow.ends if end.by == "path" and end.flag == "RST" and end.direction == direction]


def _payload_to_client(case: Case, flow: Flow) -> list[Seen]:
    """What the server sent on a flow from the touch on."""
    since = case.touch.sent - JITTER_SECONDS
    return [
        p for p in flow.packets if p.t >= since and p.direction == "to-client" and p.length and p.sender == "server"
    ]


def _when(case: Case, t: float) -> str:
    return f"{t - case.touch.sent:+.3f} s from the touch"


def _names(flows: Iterable[Flow]) -> str:
    ports = [str(flow.port) for flow in flows]
    if not ports:
        return "any flow"
    return f"port {ports[0]}" if len(ports) == 1 else f"ports {', '.join(ports)}"


def _longest(case: Case) -> str:
    """How quiet the client's flows were at most."""
    if not case.open_at_touch:
        return "none was open at the touch"
    return f"longest silence {case.longest_silence():.1f} s"
