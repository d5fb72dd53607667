"""What became of one cell: the first verdict, in the order of ``Verdict``, that applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from watcher.judge import busy, claims, wording
from watcher.judge.case import Case, Incomplete
from watcher.judge.ends import unasked_end
from watcher.judge.proofs import Finding
from watcher.judge.proving import NONE, UNPROVEN, Proven, prove
from watcher.model import Control, Outcome, Verdict
from watcher.records import Program, Touched

UNSUPPORTED_STATUS = 127

WINDOW_SHARE = 0.9
"""A silent program is judged only if its window stayed open for about as long as planned."""


class Cause(StrEnum):
    """Why a cell that ran is invalid; its reason begins with one of these."""

    LAB = "lab failure"
    CONTROL_PLANE = "needs the real control plane"
    NOT_WATCHING = "never observed the control touch"
    INCOMPLETE = "incomplete record"
    CLAIMS = "claims contradicted"
    UPDATE = "failed update"
    SLOW_UPDATE = "slow update"
    UNPROVEN = "unproven"
    SCALE = "not decidable at this scale"
    NOT_SCALABLE = "not scalable"
    CONTROL = "control failed"


class Invalid(Exception):
    """The cell says nothing about its client."""

    def __init__(self, cause: Cause, detail: str | None = None) -> None:
        super().__init__(cause.value if detail is None else f"{cause.value}: {detail}")


@dataclass(frozen=True)
class Judgement:
    """An outcome, and the findings of the proofs that were tried, by name."""

    outcome: Outcome
    findings: dict[str, Finding]


def judge(case: Case) -> Judgement:
    """The verdict on a closed cell. Never raises for what a journal holds or lacks."""
    facts = case.facts
    exited = facts.exited
    if exited is not None and exited.status == UNSUPPORTED_STATUS and facts.started is None:
        reason = f"ended with status {UNSUPPORTED_STATUS}: it cannot do this profile"
        return Judgement(Outcome(verdict=Verdict.UNSUPPORTED, reason=reason, proof=NONE), {})
    proven = Proven(UNPROVEN, "not tried")
    findings: dict[str, Finding] = {}
    try:
        _sound(case)
        if case.plan.control is Control.PERFECT:
            proven = Proven(NONE, "not on a path")
        else:
            proven, findings = prove(case)
        _updated(case)
        if not proven.valid:
            raise Invalid(Cause.UNPROVEN, proven.detail)
        outcome = _decide(case, proven)
    except Invalid as invalid:
        outcome = Outcome(verdict=Verdict.INVALID, reason=str(invalid), proof=proven.kind)
    except Incomplete as missing:
        reason = f"{Cause.INCOMPLETE.value}: {missing}"
        outcome = Outcome(verdict=Verdict.INVALID, reason=reason, proof=proven.kind)
    return Judgement(outcome, findings)


def _sound(case: Case) -> None:
    """The lab worked, the program watched as it says, and all that a verdict needs was recorded."""
    facts = case.facts
    if facts.troubles:
        raise Invalid(Cause.LAB, "; ".join(sorted(facts.troubles)))
    if facts.unserved:
        raise Invalid(Cause.CONTROL_PLANE, ", ".join(sorted(facts.unserved)))
    if facts.lost_packets:
        raise Invalid(Cause.LAB, f"the capture lost {facts.lost_packets} packets")
    if not facts.events:
        raise Invalid(Cause.INCOMPLETE, "nothing was seen of the program")
    _observed_control(case)
    named = [(case.control, "the control touch"), *((each, "a busy touch") for each in case.touches[:-1])]
    for touched, which in (*named, (case.touch, "the touch")):
        if touched.answered is None or touched.error is not None or not 200 <= (touched.status or 0) < 300:
            raise Invalid(Cause.UPDATE, f"{which}: {touched.error or f'status {touched.status}'}")
    if case.settled.port is None and case.plan.control is not Control.PERFECT:
        raise Invalid(Cause.INCOMPLETE, "L0 names no flow")
    idle = busy.missing(case) if died(case) is None else None
    if idle is not None:
        raise Invalid(Cause.INCOMPLETE, idle)
    contradicted = claims.contradiction(case)
    if contradicted is not None:
        raise Invalid(Cause.CLAIMS, contradicted)


def _observed_control(case: Case) -> None:
    facts = case.facts
    if "watching" not in facts.events:
        raise Invalid(Cause.NOT_WATCHING, f"it never began to watch{wording.ending(case)}")
    seen = facts.observed(case.control)
    # The next touch overwrote it.
    touch = min((t.sent for t in case.touches if t.sent > case.control.sent), default=None)
    if seen is None or (touch is not None and seen >= touch):
        raise Invalid(Cause.NOT_WATCHING, wording.ending(case).removeprefix(": ") or "it said nothing")


def _updated(case: Case) -> None:
    """The updates were quick enough to measure anything by them."""
    deadline = case.plan.timing.deadline_seconds
    for touch in case.touches:
        assert touch.answered is not None
        took = touch.answered - touch.sent
        if took > deadline:
            raise Invalid(Cause.SLOW_UPDATE, f"it took {took:.1f} s, the deadline is {deadline:g} s")


def _decide(case: Case, proven: Proven) -> Outcome:
    """The client's own verdicts, on a cell whose fault is proven or was prevented."""
    facts = case.facts
    waits = busy.awaited(case)
    delays = [wait.delay_seconds for wait in waits if wait.delay_seconds is not None]
    # Whoever saw the last one knows a newer state than all before it.
    worst = max(delays) if waits[-1].seen is not None else None
    delay = None if worst is None else round(worst, 3)
    verdict = None if worst is None else _all_in_time(case, waits)
    # Between two questions there is nothing to abort.
    healthy = case.plan.fault == "none" and case.plan.control is None and not case.asks
    # A program that broke the contract was ended by the harness: that end of its watch is not its own.
    aborted = unasked_end(case) if healthy and facts.violation is None else None
    if aborted is not None:
        return _outcome(Verdict.FALSE_ABORT, delay, wording.aborted(case, aborted), proven)
    if verdict is not None and worst is not None:
        reason = wording.seen_in_time(case, proven, worst) if verdict is Verdict.OK else wording.seen_late(case, worst)
        return _outcome(verdict, delay, reason, proven)
    death = died(case)
    if death is not None:
        return _outcome(Verdict.DIED, None, wording.death(case, death), proven)
    _window_was_open(case, case.touch)
    return _outcome(Verdict.STUCK, None, wording.stuck(case), proven)


def _all_in_time(case: Case, waits: Sequence[busy.Awaited]) -> Verdict:
    """LATE where one was late without doubt, whatever is undecidable of others, which then raise Invalid."""
    doubt = None
    for wait in waits:
        try:
            if _in_time(case, wait) is Verdict.LATE:
                return Verdict.LATE
        except Invalid as invalid:
            doubt = invalid
    if doubt is not None:
        raise doubt
    return Verdict.OK


def _in_time(case: Case, wait: busy.Awaited) -> Verdict:
    """OK or LATE. Raises Invalid where the update's own slowness, or the scale's floor, decides between them."""
    timing, touch, seen, delay = case.plan.timing, wait.touched, wait.seen, wait.delay_seconds
    assert touch.answered is not None
    assert seen is not None
    assert delay is not None
    counted = (wait.since, max(wait.since, touch.answered))
    within_sent, within_answered = (seen - since <= timing.deadline_seconds for since in counted)
    if within_sent != within_answered:
        took = touch.answered - touch.sent
        raise Invalid(Cause.SLOW_UPDATE, f"it took {took:.2f} s, which decides whether {delay:.2f} s is late")
    if not within_sent:
        return Verdict.LATE
    if delay > timing.scaled_deadline_seconds:
        between = f"{timing.scaled_deadline_seconds:g} s and {timing.deadline_seconds:g} s"
        raise Invalid(Cause.SCALE, f"it saw the change after {delay:.2f} s, between {between}")
    return Verdict.OK


def died(case: Case) -> Program | None:
    """The end of the program that the harness did not ask for; a broken contract is its end."""
    facts = case.facts
    if facts.violation is not None:
        return facts.violation
    if facts.exited is not None and not facts.exited.by_harness:
        return facts.exited
    return None


def _window_was_open(case: Case, touch: Touched) -> None:
    assert touch.answered is not None
    timing = case.plan.timing
    opened = case.closed - case.window_opens
    needed = max(WINDOW_SHARE * timing.window_seconds, timing.deadline_seconds)
    if opened < needed or case.closed - touch.answered < timing.deadline_seconds:
        raise Invalid(
            Cause.INCOMPLETE, f"the window closed after {opened:.1f} s instead of {timing.window_seconds:.1f} s"
        )


def _outcome(verdict: Verdict, delay: float | None, reason: str, proven: Proven) -> Outcome:
    return Outcome(verdict=verdict, delay_seconds=delay, reason=reason, proof=proven.kind)
