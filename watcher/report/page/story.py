"""What happened in a cell, in one or two sentences for somebody who knows what a connection is, and no more."""

from __future__ import annotations

from typing import Any

from watcher.model import CellResult, Results, Verdict
from watcher.report.words import DECIDED, seconds_text


def story(cell: CellResult, results: Results) -> str:
    """Starts with a capital, ends with a full stop; says only what the evidence holds."""
    if cell.verdict is Verdict.UNSUPPORTED:
        return "The library has no such setting, so there was nothing to run."
    if cell.verdict not in DECIDED:
        return f"This says nothing about the client: {_sentence(cell.reason)}"
    if cell.verdict is Verdict.FLAKY:
        return f"Its repeats do not agree: {_sentence(cell.reason)}"
    if cell.verdict is Verdict.FALSE_ABORT:
        return f"Nothing was wrong with the network, and yet: {_sentence(cell.reason)}"
    evidence: dict[str, Any] = cell.evidence
    return f"{_network(cell, evidence, results)} {_client(cell, evidence, results)}"


def _network(cell: CellResult, evidence: dict[str, Any], results: Results) -> str:
    scenario = results.scenarios.get(cell.scenario)
    fault = scenario.fault if scenario is not None else ""
    touch = (evidence.get("touch") or {}).get("sent")
    if cell.control is not None and not evidence.get("flows"):
        return "This client watched beside the network, not through it."
    if fault == "none" and "busy" in evidence:
        return "Nothing was done to the connection."
    if fault == "none" and touch is not None:
        return f"Nothing was done to the connection; it was quiet for up to {_seconds(touch)}."
    if fault == "idle-expiry":
        return _idle(cell, evidence)
    if fault == "blackhole" and cell.proof == "happened":
        return (
            "From one moment on the network dropped every packet of the open connection, in both directions and without"
            " a word; new connections worked."
        )
    description = scenario.description if scenario is not None else cell.scenario
    return _sentence(description[:1].upper() + description[1:])


def _idle(cell: CellResult, evidence: dict[str, Any]) -> str:
    expired = evidence.get("expired") or []
    if cell.proof == "happened" and expired:
        idle = expired[0]["at"] - expired[0]["silent_since"]
        said = f"The connection was silent for {_seconds(idle)}, and the network forgot it"
        if (evidence.get("proofs") or {}).get("closed-on-idle"):
            return f"The connection carried no data for {_seconds(idle)}, and the proxy behind the network closed it."
        by_path = [reset for reset in evidence.get("resets") or [] if reset["by"] == "path"]
        told = {reset["to"] for reset in by_path if reset["arrived"] and reset["at"] < _touch(evidence)}
        if told == {"client", "server"}:
            return f"{said} and told both sides (TCP reset)."
        if told:
            return f"{said}; it told the {told.pop()} (TCP reset), but not the other side."
        return f"{said} without telling anybody."
    if "by client" in cell.proof:
        return f"The client's own packets kept the connection alive ({_detail(cell)}), so the network never forgot it."
    if "by server" in cell.proof:
        return f"The server's packets kept the connection alive ({_detail(cell)}), so the network never forgot it."
    if "client and server" in cell.proof:
        return f"Client and server kept the connection alive ({_detail(cell)}), so the network never forgot it."
    if "replaced" in cell.proof:
        return "The client had moved to a newer connection before the network could forget the old one."
    if "closed before" in cell.proof:
        return "The connection was closed in order before the network could forget it."
    return "The connection was left idle."


def _detail(cell: CellResult) -> str:
    _, colon, detail = cell.reason.partition(": ")
    return detail if colon else "see the packets"


def _client(cell: CellResult, evidence: dict[str, Any], results: Results) -> str:
    deadline = f"{results.run.deadline_seconds:g} s"
    recovery = evidence.get("recovery") or {}
    touch = _touch(evidence)
    busy = evidence.get("busy")
    if busy and cell.verdict in (Verdict.OK, Verdict.LATE):
        more = "" if cell.verdict is Verdict.OK else f": more than {deadline}"
        times = f"The ConfigMap was changed {busy['count']} times"
        return f"{times}; the client saw the slowest change {_after(cell.delay_seconds)}{more}."
    if cell.verdict is Verdict.OK:
        return f"Then the ConfigMap was changed, and the client saw it {_after(cell.delay_seconds)}."
    if cell.verdict is Verdict.LATE:
        noticed = recovery.get("detected")
        said = f"Then the ConfigMap was changed. The client saw it {_after(cell.delay_seconds)}: more than {deadline}"
        if noticed is not None and noticed > touch:
            return f"{said}, as it took {_seconds(noticed - touch)} to notice that its connection was dead."
        again = recovery.get("reconnected")
        if again is not None and again > touch:
            return f"{said}, as it was connected again only {_seconds(again - touch)} after the change."
        return f"{said}."
    if cell.verdict is Verdict.DIED:
        died = recovery.get("died")
        when = ""
        if died is not None:
            side = "before" if died < touch else "after"
            when = f" {_seconds(abs(touch - died))} {side} the ConfigMap was changed"
        status = (evidence.get("program") or {}).get("status")
        how = "" if status is None else f" with status {status}"
        return f"The program ended{how}{when}: loudly, so that a supervisor would have started it again."
    closed = evidence.get("window_closed")
    waited = "" if closed is None else f" {_seconds(closed - touch)} later"
    if "still open" in cell.reason:
        return (
            f"Then the ConfigMap was changed, and the client never heard of it:{waited} it still waited on a connection"
            " that it believed to be fine. No error, no log line."
        )
    return (
        f"Then the ConfigMap was changed, and the client never saw it:{waited} it said nothing and had no connection."
    )


def _touch(evidence: dict[str, Any]) -> float:
    sent = (evidence.get("touch") or {}).get("sent")
    return float(sent) if sent is not None else 0.0


def _after(delay: float | None) -> str:
    if delay is None:
        return "in time"
    return "at once" if delay < 0.5 else f"after {seconds_text(delay)} s"


def _seconds(value: float) -> str:
    return f"{seconds_text(value)} s"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
