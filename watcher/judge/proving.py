"""Whether a cell's fault happened, was prevented, or is unproven."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from watcher.judge.case import SILENCE_TOLERANCE_SECONDS, Case, Incomplete
from watcher.judge.flows import Flow
from watcher.judge.keepalive import ANSWER_SECONDS, PING_OCTETS, wakings
from watcher.judge.proofs import IDLE, PROOFS, STANDING, Finding
from watcher.records import Direction

HAPPENED = "happened"
NONE = "none"
KEPT_BY_CLIENT = "prevented (kept alive by client)"
KEPT_BY_SERVER = "prevented (kept alive by server)"
KEPT_BY_BOTH = "prevented (kept alive by client and server)"
REPLACED = "prevented (replaced)"
CLOSED_BEFORE = "prevented (closed before the fault)"
UNPROVEN = "unproven"

NO_FAULT = "no-fault"
"""The proof of scenarios that are meant to have none."""


@dataclass(frozen=True)
class Proven:
    """``kind`` is one of the words above; ``detail`` is what was seen, in plain words."""

    kind: str
    detail: str

    @property
    def valid(self) -> bool:
        return self.kind != UNPROVEN


def prove(case: Case) -> tuple[Proven, dict[str, Finding]]:
    """The proof of the cell, and every finding by its name. Unknown names were refused when the plan was read."""
    names = (*case.plan.proof.before, *case.plan.proof.after)
    if not names:
        return Proven(UNPROVEN, "the scenario names no proof"), {}
    if case.facts.too_many_packets:
        return Proven(UNPROVEN, "too many packets"), {}
    findings: dict[str, Finding] = {}
    try:
        for name in names:
            findings[name] = PROOFS[name](case)
        failed = [name for name, finding in findings.items() if not finding.holds]
        if not failed:
            return Proven(HAPPENED, "; ".join(finding.seen for finding in findings.values())), findings
        # What nothing excuses is the reason that a reader needs.
        worst = next((name for name in failed if name in STANDING), failed[0])
        unproven = Proven(UNPROVEN, f"{worst}: {findings[worst].seen}")
        if worst in STANDING:
            return unproven, findings
        return _prevented(case, set(failed)) or unproven, findings
    except Incomplete as missing:
        return Proven(UNPROVEN, str(missing)), findings


def _prevented(case: Case, failed: set[str]) -> Proven | None:
    """How the client escaped what these proofs were to show: an idle timeout, or all of it, by having no connection."""
    if case.watch is None:
        return None
    switched_off = case.plan.fault == "none"
    escapes = not switched_off and case.plan.timing.idle_timeout_seconds is not None and failed <= IDLE
    if escapes and case.watch in case.open_at_touch:
        return _kept_alive(case, case.watch)
    if not case.open_at_touch and not case.expired:
        return _closed_before(case)
    return _replaced(case) if escapes and not case.watch_expired else None


def _closed_before(case: Case) -> Proven | None:
    """The client's connections were over before the fault could take hold, by its own doing or at its own request.

    Where no fault was to be, that is only said of a scenario whose proof is this; nor where one was to be and was not.
    """
    if case.plan.fault == "none":
        if NO_FAULT not in case.plan.proof.before or not PROOFS[NO_FAULT](case).holds:
            return None
        before = case.touch.sent
    elif case.applied is not None:
        before = case.applied.t
    elif case.plan.timing.idle_timeout_seconds is not None:
        before = case.touch.sent
    else:
        return None
    # Nobody waits on a connection between two questions: whoever closes it then takes nothing from anybody.
    requested = case.plan.effective.watch_timeout_seconds is not None or case.asks
    last = None
    for flow in case.flows:
        if flow.established is None or flow.established > before:
            continue
        end = flow.client_end()
        if end is None or end.t > before or end.by == "path" or (end.by == "server" and not requested):
            return None
        last = end if last is None or end.t > last.t else last
    if last is None:
        return None
    if last.by == "client":
        who = "the client"
    else:
        who = "the server, between two questions," if case.asks else "the server, as asked,"
    return Proven(CLOSED_BEFORE, f"{who} had closed it {case.after_l0(last.t):.1f} s after the last packet")


def _kept_alive(case: Case, flow: Flow) -> Proven | None:
    if not (_never_silent(case, flow) and case.known_alive(flow)):
        return None
    idle = case.plan.timing.idle_timeout_seconds
    assert idle is not None
    by_client, by_server = _acts(case, flow, "to-server"), _acts(case, flow, "to-client")
    kind, acts = KEPT_BY_BOTH, sorted(by_client + by_server)
    for kept_by, times in ((KEPT_BY_CLIENT, by_client), (KEPT_BY_SERVER, by_server)):
        if all(end - begin < idle for begin, end in pairwise([case.l0, *times, case.touch.sent])):
            kind, acts = kept_by, times
            break
    who = kind.removeprefix("prevented (").removesuffix(")")
    every = [end - begin for begin, end in pairwise([case.l0, *acts]) if end - begin > ANSWER_SECONDS]
    if not every:
        return Proven(kind, f"{who}: never silent for {idle:g} s")
    return Proven(kind, f"{who}: a packet every {median(every):.3g} s")


def _acts(case: Case, flow: Flow, towards: Direction) -> list[float]:
    """What one side sent of its own accord between L0 and the touch: data, or what broke a silence.

    A few octets at once after the other side has broken a silence are the answer to its PING, and no act.
    """
    woken = {waking.t: waking.by_client for waking in wakings(flow, case.l0, case.touch.sent)}
    acts, asked = [], float("-inf")
    for packet in flow.packets:
        wakes = packet.t in woken and woken[packet.t] is (packet.direction == "to-server")
        if packet.direction != towards:
            asked = packet.t if wakes else asked
            continue
        if not (case.l0 < packet.t <= case.touch.sent and packet.crossed):
            continue
        answers = packet.length <= PING_OCTETS and packet.t - asked <= ANSWER_SECONDS
        if (packet.length > 1 and not answers) or (wakes and not case.counts_data):
            acts.append(packet.t)
    return acts


def _replaced(case: Case) -> Proven | None:
    """The watch moved on before it was forgotten; what was forgotten is a spare connection that never carried it."""
    spare = [expired.flow for expired in case.expired]
    fresh = [flow for flow in case.open_at_touch if flow not in spare]
    if not fresh or not all(_never_silent(case, flow) and case.known_alive(flow) for flow in fresh):
        return None
    youngest = max(fresh, key=lambda flow: flow.first)
    return Proven(REPLACED, f"replaced: a connection {case.touch.sent - youngest.first:.1f} s old at the touch")


def _never_silent(case: Case, flow: Flow) -> bool:
    """Packets that crossed the path came oftener than its idle timeout, up to the touch."""
    idle = case.plan.timing.idle_timeout_seconds
    assert idle is not None
    since = max(case.l0, flow.first)
    silences = flow.silences(since, case.touch.sent, crossed=True, data_only=case.counts_data)
    return all(end - begin < idle + SILENCE_TOLERANCE_SECONDS for begin, end in silences)
