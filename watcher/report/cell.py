"""One cell in words, beside its packets: what a colleague needs who is to be convinced by the folder alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from watcher.model import CellResult, RunResult
from watcher.report.words import printable

FILE = "verdict.txt"

PROBES = {
    "virtual": "the probe: the lab's own fresh connection at the touch",
    "server": "the probe of the first API server itself: the lab's own connection at the touch",
    "history": "the probe of the history: the lab's own watch at the touch",
}


def text(cell: CellResult, run: RunResult) -> str:
    """The file's content; all that a program or the network said is made harmless to a terminal."""
    return "\n".join(printable(line) for line in _lines(cell, cell.evidence, run)) + "\n"


def _lines(cell: CellResult, evidence: dict[str, Any], run: RunResult) -> Iterator[str]:
    yield f"{cell.stack} / {cell.profile} / {cell.scenario}: {cell.verdict.value}"
    yield cell.reason
    yield ""
    yield f"Proof: {cell.proof}"
    for name, finding in evidence.get("proofs", {}).items():
        yield f"  {name}: {'holds' if finding['holds'] else 'does not hold'}: {finding['seen']}"
    if evidence.get("l0") is None:
        return
    yield ""
    scale = "" if run.scale == 1 else f"; times {run.scale:g} they are true ones"
    yield f"When, in seconds after L0, the last packet of the control touch{scale}:"
    for at, what in sorted(_times(evidence, run), key=lambda moment: moment[0]):
        yield f"  {at:9.3f}  {what}"
    yield from _packets(evidence)


def _times(evidence: dict[str, Any], run: RunResult) -> Iterator[tuple[float, str]]:
    yield 0.0, f"L0, {_wall(evidence['l0'], run)} UTC in the pcap files (accurate to some milliseconds)"
    for expired in evidence.get("expired", ()):
        yield expired["at"], f"port {expired['port']} had been silent for the whole idle timeout"
    for fault in evidence.get("faults", ()):
        yield fault["at"], f"fault {fault['name']}: {fault['action']}"
    # What is reset from then on is the kernels' tidying up behind a program that was ended.
    over = evidence.get("stopped", evidence.get("window_closed"))
    for reset in evidence.get("resets", ()):
        if over is not None and reset["at"] > over:
            continue
        yield reset["at"], f"reset to the {reset['to']} on port {reset['port']}, by the {reset['by']}"
    known: dict[str, float | None] = {
        "the touch was sent": evidence.get("touch", {}).get("sent"),
        "the program observed the touch": evidence.get("observed"),
        "the client knew that its connection was gone": evidence.get("recovery", {}).get("detected"),
        "the client knew at the latest by now that its connection was gone: it tried to connect again, and neither"
        " FIN nor RST of the old one had left it": evidence.get("recovery", {}).get("detected_at_latest"),
        "the client was connected again": evidence.get("recovery", {}).get("reconnected"),
        "the program ended": evidence.get("recovery", {}).get("died"),
        "the window closed; the harness ended the program": over,
    }
    for what, at in known.items():
        if at is not None:
            yield at, what


def _packets(evidence: dict[str, Any]) -> Iterator[str]:
    watch = evidence.get("watch_port")
    if watch is None:
        return
    yield ""
    yield "Ports of the client's address:"
    yield f"  {watch}  the watch that carried the control touch"
    for flow in evidence.get("flows", ()):
        if flow["port"] != watch:
            yield f"  {flow['port']}  another connection of the program, from {flow['first']:.3f} s on"
    for probe in evidence.get("probes", ()):
        if probe["port"] is not None:
            yield f"  {probe['port']}  {_probe(probe, evidence)}"
    yield ""
    yield "See for yourself (a packet in both files was forwarded; in one only, it was stopped or made by the path):"
    for link in ("client", "server"):
        yield f"  tcpdump -nr {link}-link.pcap port {watch}"


def _probe(probe: dict[str, Any], evidence: dict[str, Any]) -> str:
    """Which of the lab's own connections it was, when it was made, and what became of it."""
    what = PROBES[probe.get("to", "virtual")]
    touched = evidence.get("touch", {}).get("sent")
    began = probe.get("at")
    if began is not None and touched is not None and began < touched - 1:
        what = f"{what.removesuffix(' at the touch')} at {began:.3f} s, in the midst of the fault"
    return f"{what}, closed by it" if probe["ok"] else f"{what}: it failed ({probe['error'] or 'no reason given'})"


def _wall(monotonic: float, run: RunResult) -> str:
    began = datetime.fromisoformat(run.started_at)
    return f"{began + timedelta(seconds=monotonic - run.started_monotonic):%H:%M:%S.%f}"[:-3]
