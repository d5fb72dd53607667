"""Ends of the watch by the client itself: which ones its settings asked for, and which ended a healthy watch."""

from __future__ import annotations

from watcher.judge.case import Case
from watcher.judge.flows import End, Flow
from watcher.model import Settings

SERVER_END_SECONDS = 0.5
"""A client that closes this soon after the server's data may be acting on the end of the watch inside it."""

EARLY_SHARE = 0.2
"""By this share an asked-for timer may fire earlier than its number: it may have been armed before L0."""


def unasked_end(case: Case) -> End | None:
    """The client's FIN or RST that, between control touch and touch, ended a healthy watch; None if there is none.

    Not one after the server's own end, nor one that the profile's read or watch timeout asked for.
    """
    flow = case.watch
    while flow is not None:
        if not flow.ends:
            return None
        end = flow.ends[0]
        if end.t >= case.touch.sent:
            return None
        if end.by == "client" and not _asked(case.plan.effective, flow, end) and not _after_server(case, flow, end):
            return end
        if end.by == "path":
            return None
        flow = _successor(case, flow, end)
    return None


def asked_ends(case: Case) -> list[End]:
    """The client's ends of a connection, between L0 and the touch, that its settings asked for."""
    found = []
    for flow in case.flows:
        first = flow.ends[0] if flow.ends else None
        if first is None or first.by != "client" or not case.l0 < first.t < case.touch.sent:
            continue
        if flow.established is not None and _asked(case.plan.effective, flow, first):
            found.append(first)
    return found


def _asked(settings: Settings, flow: Flow, end: End) -> bool:
    """Whether the profile asked for this end: one of its timers had run, since the last data or the last request."""
    if not settings.ends_its_own_watch:
        return False
    timers = [seconds for seconds in (settings.read_timeout_seconds, settings.watch_timeout_seconds) if seconds]
    # A client says good-bye inside TLS before its FIN: data of its last moments is no request.
    requests = [
        packet.t
        for packet in flow.packets
        if packet.direction == "to-server" and packet.length and packet.t < end.t - SERVER_END_SECONDS
    ]
    answers = [
        packet.t for packet in flow.packets if packet.direction == "to-client" and packet.length and packet.t < end.t
    ]
    waited = [end.t - times[-1] for times in (requests, answers) if times]
    return max(waited, default=0.0) >= min(timers) * (1 - EARLY_SHARE)


def _after_server(case: Case, flow: Flow, end: End) -> bool:
    """The server sent data just before, and not the control touch: it may have ended the watch."""
    return any(
        packet.direction == "to-client"
        and packet.length
        and packet.at_client is not None
        and max(case.l0, end.t - SERVER_END_SECONDS) < packet.t <= end.t
        for packet in flow.packets
    )


def _successor(case: Case, flow: Flow, end: End) -> Flow | None:
    """The connection on which the watch went on: the longest-lived one of those opened before the next touch."""
    later = [
        other
        for other in case.flows
        if other.established is not None and end.t <= other.first < case.touch.sent and other is not flow
    ]
    if not later:
        return None
    nearest = min(other.first for other in later)
    together = [other for other in later if other.first <= nearest + SERVER_END_SECONDS]
    return max(together, key=lambda other: other.last)
