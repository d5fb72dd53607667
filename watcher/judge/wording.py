"""Reasons in plain words: the one line that a reader sees below the matrix."""

from __future__ import annotations

from watcher.judge.busy import awaited
from watcher.judge.case import Case
from watcher.judge.flows import End, Flow
from watcher.judge.proving import HAPPENED, Proven
from watcher.records import Program

MAX_MESSAGE = 200
"""Characters of a program's own message in a reason."""


def seconds(value: float) -> str:
    """A duration for readers: as exact as it is worth."""
    if abs(value) < 0.1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if abs(value) < 1 else f"{value:.1f} s"


def seen_in_time(case: Case, proven: Proven, delay_seconds: float) -> str:
    """``delay_seconds`` is the worst, where there were many touches."""
    said = _saw(case, delay_seconds)
    if proven.kind.startswith("prevented"):
        return proven.detail if len(case.touches) == 1 else f"{proven.detail}; {said}"
    if proven.kind == HAPPENED and case.plan.fault != "none" and case.open_at_touch:
        youngest = max(flow.first for flow in case.open_at_touch)
        if case.watch is None or youngest > case.watch.first:
            said += f", on a connection opened {seconds(case.touch.sent - youngest)} before it"
        elif case.watch in case.cut and _delivered(case, case.watch):
            said += ", on the connection that the fault had struck"
    return said


def seen_late(case: Case, delay_seconds: float) -> str:
    said = _saw(case, delay_seconds)
    if case.healed < case.touch.sent:
        said += f", {seconds(case.touch.sent + delay_seconds - case.healed)} after the fault was over"
    return f"{said}{_no_keepalive(case)}"


def aborted(case: Case, end: End) -> str:
    after = seconds(case.after_l0(end.t))
    return f"ended a healthy watch itself, by {end.flag}, {after} after the last packet"


def death(case: Case, ended: Program) -> str:
    """Says how it ended, when, and what it last complained of."""
    after = ended.t - case.l0
    said = f"{_how(ended)}, {seconds(after)} after the last packet" if after >= 0 else _how(ended)
    return said + _seen_before(case) + _last_words(case)


def stuck(case: Case) -> str:
    timing = case.plan.timing
    over = case.window_opens + timing.window_seconds
    state = "it was not on a path" if case.plan.control is not None and not case.flows else _connected(case, over)
    closed = f"{state} when the window closed {seconds(timing.window_seconds)} later"
    return f"never saw the change; {closed}{_seen_before(case)}{_no_keepalive(case)}{_foretold(case)}"


def ending(case: Case) -> str:
    """What became of a program that never got as far as watching; empty if it was simply silent."""
    facts = case.facts
    for ended in (facts.violation, facts.exited):
        if ended is not None and not ended.by_harness:
            return f": {_how(ended)}{_last_words(case)}"
    error = facts.events.get("error")
    return f": {_short(error.message)}" if error is not None and error.message else ""


def _connected(case: Case, t: float) -> str:
    """Whether the client had a connection then, and whether it was the one that had carried the control touch."""
    connections = [flow for flow in case.flows if flow.open_at(t)]
    # One that the client gave up is open to who sees only packets, as long as its FIN waits behind lost data.
    held = case.held_at_last or frozenset()
    connections = [flow for flow in connections if flow.port in held] or connections
    if not connections:
        return "it had no connection"
    if case.watch is None or case.watch in connections:
        return "its connection was still open"
    opened = max(flow.first for flow in connections)
    side = "before" if opened < case.touch.sent else "after"
    return f"a connection that it had opened {seconds(abs(case.touch.sent - opened))} {side} the change was still open"


def _saw(case: Case, delay_seconds: float) -> str:
    if len(case.touches) == 1:
        return f"saw the change after {seconds(delay_seconds)}"
    return f"saw all {len(case.touches)} changes, at worst after {seconds(delay_seconds)}"


def _seen_before(case: Case) -> str:
    """How far a program got that did not see the last of many changes."""
    if len(case.touches) == 1:
        return ""
    seen = sum(wait.seen is not None for wait in awaited(case))
    return f"; of {len(case.touches)} changes it had seen {seen}"


def _delivered(case: Case, flow: Flow) -> bool:
    return any(packet.crossed for packet in case.payload_to_client(flow))


def _how(ended: Program) -> str:
    if ended.event == "violation":
        return f"broke the contract: {_short(ended.message)}" if ended.message else "broke the contract"
    if ended.status is not None and ended.status < 0:
        return f"was ended by signal {-ended.status}"
    return f"exited with status {ended.status}"


def _last_words(case: Case) -> str:
    for event in ("error", "ended"):
        last = case.facts.events.get(event)
        if last is not None and last.message:
            return f": {_short(last.message)}"
    return ""


def _no_keepalive(case: Case) -> str:
    """A profile that asks for keepalive, and sockets that have none."""
    looked = case.facts.sockets.get("watching") or case.facts.sockets.get("touch")
    if not case.plan.effective.keepalive or looked is None or not looked.sockets:
        return ""
    without = all(socket.timer != "keepalive" and not socket.keepalive for socket in looked.sockets)
    return "; the profile asks for TCP keepalive, but its socket had none" if without else ""


def _foretold(case: Case) -> str:
    times = case.facts.foretold(case.touch)
    return f"; it printed the nonce {times} times before it was sent" if times else ""


def _short(message: str | None) -> str:
    text = " ".join((message or "").split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
