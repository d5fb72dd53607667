"""The judge: a fold over records, one at a time, whether they come from a file or from a running stage.

What it keeps is bounded: the plan of each cell, and the facts of the cells that are open now.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from watcher.judge import evidence, proofs
from watcher.judge.case import Case
from watcher.judge.facts import CellFacts
from watcher.judge.proving import NONE
from watcher.judge.verdict import judge
from watcher.model import CellId, CellPlan, Outcome
from watcher.records import Began, Closed, LabError, LabReady, Planned, Record, Sysctls, Unserved


@dataclass(frozen=True)
class Judged:
    """A cell's outcome with the facts behind it; its scenario's controls may still overrule it."""

    plan: CellPlan
    outcome: Outcome
    evidence: dict[str, object] = field(default_factory=dict)


class Judge:
    """State of the fold. Between a cell's ``began`` and ``closed`` the order of records is of no account."""

    def __init__(self) -> None:
        self.records = 0
        """How many records it was given: less than the journal's length means that somebody judged only a part."""
        self.strays = 0
        """Records of cells that were not open: nothing may follow ``closed``."""
        self._plans: dict[str, CellPlan] = {}
        self._open: dict[str, CellFacts] = {}
        self._broken: LabError | None = None

    def feed(self, record: Record) -> list[tuple[CellId, Outcome]]:
        """The outcomes that this record decides."""
        return [(judged.plan.id, judged.outcome) for judged in self.step(record)]

    def step(self, record: Record) -> list[Judged]:
        """As ``feed``, with the evidence. Raises UsageError for a plan that names an unknown proof."""
        self.records += 1
        if isinstance(record, Planned):
            return self._plan(record.plan)
        if record.cell is None:
            self._run_record(record)
            return []
        if isinstance(record, Began):
            if record.cell in self._plans:
                self._open[record.cell] = facts = CellFacts(self._plans[record.cell])
                if self._broken is not None:
                    facts.take(self._broken)
            else:
                self.strays += 1
            return []
        facts_or_none = self._open.get(record.cell)
        if facts_or_none is None:
            self.strays += 1
            return []
        if isinstance(record, Closed):
            del self._open[record.cell]
            return [_judged(facts_or_none, record)]
        facts_or_none.take(record)
        return []

    @property
    def open_cells(self) -> int:
        return len(self._open)

    def _plan(self, plan: CellPlan) -> list[Judged]:
        proofs.check(plan.proof)
        self._plans[str(plan.id)] = plan
        if plan.skip is None:
            return []
        return [Judged(plan, Outcome(verdict=plan.skip.verdict, reason=plan.skip.reason, proof=NONE))]

    def _run_record(self, record: Record) -> None:
        """A failure of the lab as a whole is one of every cell that is open, or begins before the lab stands again."""
        if isinstance(record, LabReady):
            self._broken = None
        elif isinstance(record, LabError):
            self._broken = record
        if isinstance(record, LabError | Sysctls | Unserved):
            for facts in self._open.values():
                facts.take(record)


def _judged(facts: CellFacts, closed: Closed) -> Judged:
    case = Case(facts, closed.t)
    judgement = judge(case)
    return Judged(facts.plan, judgement.outcome, evidence.gather(case, judgement, closed.folder))
