"""The facts behind a verdict, as JSON that a reader can check against the packets. Times are seconds after L0."""

from __future__ import annotations

from watcher.judge import asking, busy, keepalive
from watcher.judge.case import Case, Incomplete
from watcher.judge.ends import asked_ends
from watcher.judge.flows import Flow
from watcher.judge.recovery import recovery, stopped
from watcher.judge.verdict import Judgement
from watcher.model import Control
from watcher.records import Probed, Touched

MAX_LISTED = 20
"""Flows, resets and the like that are listed one by one; the rest is only counted."""


def gather(case: Case, judgement: Judgement, folder: str | None) -> dict[str, object]:
    """All that is known of a closed cell; what was not recorded is left out."""
    facts = case.facts
    found: dict[str, object] = {
        "folder": folder,
        "program": _program(case),
        "observations": {"distinct": len(facts.arrivals) + facts.forgotten_nonces, "wrong": facts.other_nonces()},
        "proofs": {name: {"holds": each.holds, "seen": each.seen} for name, each in judgement.findings.items()},
        "failures": [each.name for each in facts.failures],
        "lost_packets": facts.lost_packets,
        "probes": [_probe(case, probed) for probed in facts.probes],
        "counters": {moment: each.packets for moment, each in facts.counters.items()},
        "conntrack": {moment: [flow.model_dump() for flow in each.flows] for moment, each in facts.conntrack.items()},
        "sockets": {
            moment: [socket.model_dump(exclude_none=True) for socket in each.sockets[:MAX_LISTED]]
            for moment, each in facts.sockets.items()
        },
        "server_sockets": {
            moment: [socket.model_dump(exclude_none=True) for socket in each.sockets[:MAX_LISTED]]
            for moment, each in facts.server_sockets.items()
        },
    }
    for part in (_times, _travel):
        try:
            found |= part(case)
        except Incomplete as missing:
            found["missing"] = str(missing)
            break
    return found


def _probe(case: Case, probed: Probed) -> dict[str, object]:
    began = {} if case.facts.settled is None else {"at": case.after_l0(probed.t - probed.seconds)}
    return {
        "ok": probed.ok,
        "seconds": round(probed.seconds, 3),
        "port": probed.port,
        "error": probed.error,
        **began,
        **({"to": probed.to} if probed.to != "virtual" else {}),
    }


def _program(case: Case) -> dict[str, object]:
    facts, started = case.facts, case.facts.started
    exited = facts.exited
    return {
        "library": started.library if started is not None else None,
        "version": started.version if started is not None else None,
        "runtime": started.runtime if started is not None else None,
        "settings": started.settings if started is not None else None,
        "events": {name: event.times for name, event in sorted(facts.events.items())},
        "status": exited.status if exited is not None else None,
        "ended_by_harness": exited.by_harness if exited is not None else None,
        "memory_mib": exited.memory_mib if exited is not None else None,
        "violation": facts.violation.message if facts.violation is not None else None,
    }


def _times(case: Case) -> dict[str, object]:
    seen = case.facts.observed(case.touch)
    return {
        "l0": round(case.l0, 6),
        "control_touch": _touch(case, case.control),
        "touch": _touch(case, case.touch),
        "touch_planned": round(case.plan.timing.touch_after_seconds, 3),
        "observed": None if seen is None else case.after_l0(seen),
        **({"busy": busy.figures(case)} if len(case.touches) > 1 else {}),
        **({"question": asked} if (asked := asking.question(case)) is not None else {}),
        "foretold": case.facts.foretold(case.touch),
        "window_closed": case.after_l0(case.closed),
        "stopped": case.after_l0(stopped(case)),
        "faults": [
            {"name": f.name, "action": f.action, "at": case.after_l0(f.t), "ports": [flow.port for flow in f.flows]}
            for f in case.facts.faults
        ],
        "path_actions": [
            {"action": a.action, "port": a.port, "at": case.after_l0(a.t)} for a in case.facts.path_actions[:MAX_LISTED]
        ],
    }


def _touch(case: Case, touched: Touched) -> dict[str, object]:
    answered = None if touched.answered is None else case.after_l0(touched.answered)
    return {"sent": case.after_l0(touched.sent), "answered": answered, "status": touched.status}


def _travel(case: Case) -> dict[str, object]:
    """What packets say. Nothing of it exists for a client that is not on a path."""
    if case.plan.control is Control.PERFECT or case.facts.too_many_packets:
        return {"too_many_packets": case.facts.too_many_packets}
    resets = [
        {
            "by": end.by,
            "to": end.direction.removeprefix("to-"),
            "at": case.after_l0(end.t),
            "port": flow.port,
            "arrived": end.arrived,
            "exact": end.exact,
        }
        for flow in case.flows
        for end in flow.ends
        if end.flag == "RST"
    ]
    quiet = [waking for flow in case.flows for waking in keepalive.wakings(flow, case.l0, case.touch.sent)]
    asked = asked_ends(case)
    pings = keepalive.pings(case.flows, case.l0, case.undisturbed)
    return {
        "packets": len(case.facts.packets),
        "watch_port": case.settled.port,
        "flows": [_flow(case, flow) for flow in case.flows[:MAX_LISTED]],
        "flows_total": len(case.flows),
        "expired": [
            {"port": each.flow.port, "silent_since": case.after_l0(each.since), "at": case.after_l0(each.at)}
            for each in case.expired
        ],
        "longest_silence": round(case.longest_silence(), 3),
        "quiet_time_senders": {
            "client": sum(waking.by_client for waking in quiet),
            "server": sum(not waking.by_client for waking in quiet),
        },
        "undisturbed": case.after_l0(case.undisturbed),
        "keepalive_probes": keepalive.probes(case.flows, case.l0, case.undisturbed),
        **({"pings": pings} if pings else {}),
        "resets": resets[:MAX_LISTED],
        "resets_total": len(resets),
        "ends_asked_for": [{"flag": end.flag, "at": case.after_l0(end.t)} for end in asked],
        "recovery": recovery(case),
    }


def _flow(case: Case, flow: Flow) -> dict[str, object]:
    end = flow.client_end()
    return {
        "port": flow.port,
        "first": case.after_l0(flow.first),
        "established": None if flow.established is None else case.after_l0(flow.established),
        "last": case.after_l0(flow.last),
        "packets": len(flow.packets),
        "stopped": sum(packet.stopped for packet in flow.packets),
        "end": None if end is None else {"by": end.by, "flag": end.flag, "at": case.after_l0(end.t)},
    }
