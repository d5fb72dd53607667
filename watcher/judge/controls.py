"""The controls of each scenario: clients whose verdict is known beforehand. Where one surprises, no other counts."""

from __future__ import annotations

from collections.abc import Mapping

from watcher.judge.fold import Judged
from watcher.judge.proving import HAPPENED, KEPT_BY_SERVER
from watcher.judge.verdict import Cause
from watcher.model import CellId, CellPlan, Control, Outcome, Verdict

NEVER_RAN = frozenset({Verdict.UNSUPPORTED, Verdict.NOT_BUILT, Verdict.NOT_RUN})
"""Verdicts that no control can change."""


class Controls:
    """The controls of a run, and what each says about the cells beside it."""

    def __init__(self, plans: Mapping[str, CellPlan], judged: Mapping[str, Judged]) -> None:
        self._judged = judged
        self._planned: dict[tuple[str, int], list[CellPlan]] = {}
        for plan in plans.values():
            if plan.control is not None:
                self._planned.setdefault((plan.id.scenario, plan.id.repeat), []).append(plan)

    def failure(self, cell: CellId) -> str | None:
        """Why the controls of this cell's scenario and repeat do not hold; None where they do."""
        planned = self._planned.get((cell.scenario, cell.repeat)) or self._planned.get((cell.scenario, 1)) or []
        for control in Control:
            if not any(plan.control is control for plan in planned):
                return f"{Cause.CONTROL.value}: no {control.value} control was planned"
        for plan in planned:
            judged = self._judged.get(str(plan.id))
            problem = _problem(plan, judged.outcome if judged is not None else None)
            if problem is not None:
                return problem
        return None

    def overruled(self, judged: Judged) -> Outcome:
        """The cell's outcome, unless a control of its scenario failed."""
        outcome = judged.outcome
        if outcome.verdict in NEVER_RAN or outcome.verdict is Verdict.INVALID:
            return outcome
        failure = self.failure(judged.plan.id)
        if failure is None:
            return outcome
        return Outcome(verdict=Verdict.INVALID, reason=failure, proof=outcome.proof)


def _problem(plan: CellPlan, outcome: Outcome | None) -> str | None:
    name = plan.control.value if plan.control is not None else plan.id.stack
    if outcome is None:
        return f"{Cause.CONTROL.value}: {name} did not run to its end"
    if outcome.reason.startswith(Cause.NOT_SCALABLE.value):
        return f"{Cause.NOT_SCALABLE.value}: the {name} control of {plan.id.scenario}: {outcome.reason}"
    wanted = Verdict.OK if plan.control is Control.PERFECT else Verdict.STUCK
    if outcome.verdict is not wanted:
        return f"{Cause.CONTROL.value}: {name} was {outcome.verdict.value}, not {wanted.value}: {outcome.reason}"
    if plan.control is Control.DEAF and outcome.proof not in _proofs(plan):
        return f"{Cause.CONTROL.value}: {name} was {wanted.value}, but its proof is {outcome.proof}"
    return None


def _proofs(plan: CellPlan) -> set[str]:
    """What may have happened to a client that never sends of its own accord."""
    timing = plan.timing
    if timing.server_keepalive_idle_seconds is None or timing.idle_timeout_seconds is None:
        return {HAPPENED}
    if timing.server_keepalive_idle_seconds < timing.idle_timeout_seconds:
        return {HAPPENED, KEPT_BY_SERVER}
    return {HAPPENED}
