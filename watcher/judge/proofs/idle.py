"""A flow was silent for the path's idle timeout, and what the path then did with it."""

from __future__ import annotations

from watcher.judge.case import Case
from watcher.judge.flows import End, Flow, Seen
from watcher.judge.proofs.registry import Finding, proof
from watcher.judge.proofs.words import longest_silence, ports, when
from watcher.model import Ending
from watcher.records import Direction

ANSWER_SECONDS = 1.0
"""Within this time of a packet the path answers it with a reset, if it does."""

CLOSE_SECONDS = 1.0
"""Within this time of the idle timeout, and half of that at most, a proxy closes: what is in its way is the machine."""


@proof("idle-expired", idle=True)
def idle_expired(case: Case) -> Finding:
    """Before: the watch's flow, and every other one of that time, was idle for the timeout and is forgotten."""
    awake = _awake(case)
    if awake is not None:
        return awake
    gone = [expired.flow for expired in case.expired]
    for flow in gone:
        state = case.conntrack_state(flow)
        if state is not None:
            idle = case.plan.timing.idle_timeout_seconds
            return Finding(False, f"{ports([flow])} was silent for {idle:g} s, but conntrack still had it: {state}")
    return Finding(True, f"{ports(gone)} silent for {case.plan.timing.idle_timeout_seconds:g} s and forgotten")


@proof("closed-on-idle", idle=True)
def closed_on_idle(case: Case) -> Finding:
    """Before: a proxy closed each flow that had carried no data for its timeout, right when that was over."""
    if case.plan.ending is not Ending.CLOSE:
        return Finding(False, f"the path's ending is {case.plan.ending.value!r}: nobody there closes")
    awake = _awake(case)
    if awake is not None:
        return awake
    idle = case.plan.timing.idle_timeout_seconds
    assert idle is not None
    within = case.plan.timing.end_delay_seconds + min(CLOSE_SECONDS, idle / 2)
    lags = []
    for expired in case.expired:
        name = ports([expired.flow])
        end = next((end for end in expired.flow.ends if end.t <= case.touch.sent), None)
        if end is None or end.flag != "FIN" or end.by != "server" or not end.arrived:
            seen = "nobody" if end is None else f"the {end.by}, by {end.flag}"
            return Finding(False, f"{name} carried no data for {idle:g} s; before the touch it was ended by {seen}")
        lag = end.t - expired.at
        if lag > within:
            return Finding(False, f"{name} was closed only {lag:.3f} s after its idle timeout of {idle:g} s")
        lags.append(lag)
    gone = ports(expired.flow for expired in case.expired)
    return Finding(True, f"{gone} closed by FIN {max(lags):.3f} s after {idle:g} s without data")


@proof("reset-to-client", idle=True)
def reset_to_client(case: Case) -> Finding:
    """Before: the path reset each expired flow towards the client, with the sequence number that it expects."""
    return _reset(case, "to-client")


@proof("reset-to-server", idle=True)
def reset_to_server(case: Case) -> Finding:
    """Before: the path reset each expired flow towards the server, with the sequence number that it expects."""
    return _reset(case, "to-server")


@proof("no-reset-to-client", idle=True)
def no_reset_to_client(case: Case) -> Finding:
    """Before: nobody told the client."""
    resets = case.path_resets("to-client", case.touch.sent)
    if resets:
        times = ", ".join(f"{case.after_l0(packet.t):g} s" for _, packet in resets[:3])
        return Finding(False, f"the path reset the client {times} after L0")
    return Finding(True, "no reset reached the client before the touch")


@proof("event-not-forwarded", idle=True)
def event_not_forwarded(case: Case) -> Finding:
    """After: the server sent the event on the expired flow (or the client, who asks, its question), and the path let
    nothing of it through, unless it is one that opens again for who speaks.
    """
    stopped = None
    for expired in case.expired:
        asked = case.questions(expired.flow)
        reopened = case.plan.ending is Ending.BLOCKED_UNTIL_OUTBOUND
        if asked and not reopened and any(packet.crossed for packet in asked):
            return Finding(False, f"the client's question crossed on the expired port {expired.flow.port}")
        of_flow = asked[0] if asked else None
        for packet in case.payload_to_client(expired.flow):
            if packet.at_client is not None and not _let_in_again(case, expired.flow, of_flow, packet):
                return Finding(False, f"data on the expired port {expired.flow.port} reached the client")
            of_flow = of_flow or packet
        stopped = stopped or of_flow
    if stopped is None:
        return Finding(False, f"the server sent no event on {ports(e.flow for e in case.expired)}")
    who = "server's event" if stopped.direction == "to-client" else "client's question"
    if stopped.crossed:
        return Finding(True, f"the {who} {when(case, stopped.t)} opened the path again")
    return Finding(True, f"the {who} {when(case, stopped.t)} was not forwarded")


@proof("server-reset-on-next-packet", idle=True)
def server_reset_on_next_packet(case: Case) -> Finding:
    """After: the event drew the path's RST back to the server; or the client's question one to the client."""
    sent = 0
    for expired in case.expired:
        events = [packet for packet in case.payload_to_client(expired.flow) if packet.stopped]
        sent += len(events)
        for reset in _resets(expired.flow, "to-server"):
            if reset.exact and any(0 <= reset.t - event.t <= ANSWER_SECONDS for event in events):
                return Finding(True, f"the path answered the server's event with RST, {when(case, reset.t)}")
        asked = [packet for packet in case.questions(expired.flow) if packet.stopped]
        sent += len(asked)
        for reset in _resets(expired.flow, "to-client"):
            if any(0 <= reset.t - question.t <= ANSWER_SECONDS for question in asked):
                return Finding(True, f"the path answered the client's question with RST, {when(case, reset.t)}")
    return Finding(False, f"{sent} events sent on expired flows, none answered by the path's RST")


def _awake(case: Case) -> Finding | None:
    """Why not every flow that could carry the watch was idle; None where each of them was."""
    idle = case.plan.timing.idle_timeout_seconds
    if idle is None:
        return Finding(False, "the path has no idle timeout")
    if not case.expired:
        return Finding(False, f"no flow was silent for {idle:g} s ({longest_silence(case)})")
    first = case.expired[0]
    gone = [expired.flow for expired in case.expired]
    awake = [flow for flow in case.open_at_touch if flow not in gone and flow.first < first.at]
    if awake:
        return Finding(False, f"{ports(awake)} was not silent for {idle:g} s ({longest_silence(case)})")
    if not case.watch_expired:
        return Finding(False, f"{ports(gone)} expired, but the watch was not on it")
    return None


def _let_in_again(case: Case, flow: Flow, event: Seen | None, packet: Seen) -> bool:
    """The path opens for inbound packets again when the client speaks, and it did so after the event was stopped."""
    if case.plan.ending is not Ending.BLOCKED_UNTIL_OUTBOUND or event is None:
        return False
    return any(
        each.direction == "to-server" and each.crossed and event.t <= each.t <= packet.t for each in flow.packets
    )


def _reset(case: Case, direction: Direction) -> Finding:
    """Each expired flow needs its reset, unless the client had ended it by then: such a flow the path has let go."""
    if not case.expired:
        return Finding(False, f"no flow had expired ({longest_silence(case)})")
    told = 0
    for expired in case.expired:
        resets = [reset for reset in _resets(expired.flow, direction) if reset.t <= case.touch.sent]
        if any(reset.exact for reset in resets):
            told += 1
        elif resets:
            return Finding(False, f"the RST {direction} on {ports([expired.flow])} has a wrong sequence number")
        elif not any(end.by == "client" and end.t <= case.touch.sent for end in expired.flow.ends):
            return Finding(False, f"no RST {direction} on {ports([expired.flow])} before the touch")
    return Finding(True, f"{told} of {len(case.expired)} expired flows reset {direction}")


def _resets(flow: Flow, direction: Direction) -> list[End]:
    """The path's own resets of a flow towards one side."""
    return [end for end in flow.ends if end.by == "path" and end.flag == "RST" and end.direction == direction]
