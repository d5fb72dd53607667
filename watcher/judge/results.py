"""From a run's records to its results: controls applied, repeats merged, and whether the run can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from watcher.errors import UsageError
from watcher.judge import keepalive
from watcher.judge.controls import Controls
from watcher.judge.fold import Judge, Judged
from watcher.judge.proving import NONE
from watcher.judge.verdict import Cause
from watcher.model import (
    CellPlan,
    CellResult,
    Outcome,
    RepeatResult,
    Results,
    RunResult,
    SettingsResult,
    StackResult,
    Verdict,
)
from watcher.records import Began, Closed, Planned, Record, RunEnded, RunStarted

MAX_INVALID_SHARE = 0.05

CAUSES = tuple(cause.value for cause in Cause)

SEVERITY = (Verdict.OK, Verdict.LATE, Verdict.DIED, Verdict.STUCK, Verdict.FALSE_ABORT)
"""From harmless to worst, to choose what stands for a cell whose repeats differ."""


class Docket:
    """Gathers a run's records and judgements. Give it every record of the journal, in order."""

    def __init__(self) -> None:
        self.judge = Judge()
        self.records = 0
        self._run: RunStarted | None = None
        self._ended: RunEnded | None = None
        self._plans: dict[str, CellPlan] = {}
        self._judged: dict[str, Judged] = {}
        self._begun: set[str] = set()
        self._closed: set[str] = set()

    def take(self, record: Record) -> list[Judged]:
        """Judges one more record; what it decides is kept, and returned for whoever shows progress."""
        self.records += 1
        if isinstance(record, RunStarted):
            self._run = self._run or record
        elif isinstance(record, RunEnded):
            # A tie-break is an end of its own, after the run's.
            self._ended = self._ended or record
        elif isinstance(record, Planned):
            self._plans[str(record.plan.id)] = record.plan
        elif isinstance(record, Began) and record.cell in self._plans:
            # A new attempt: what was said of an earlier one is void.
            self._judged.pop(record.cell, None)
            self._closed.discard(record.cell)
            self._begun.add(record.cell)
        elif isinstance(record, Closed) and record.cell in self._begun:
            self._closed.add(record.cell)
        judged = self.judge.step(record)
        self._judged |= {str(each.plan.id): each for each in judged}
        return judged

    def results(self) -> Results:
        """Raises UsageError for a journal whose run never began."""
        if self._run is None:
            raise UsageError("the journal does not say which run it is of", advice="its first line is missing")
        controls = Controls(self._plans, self._judged)
        cells: dict[str, list[tuple[Judged, Outcome]]] = {}
        for cell, plan in self._plans.items():
            judged = self._judged.get(cell) or Judged(plan, self._not_run(cell))
            outcome = judged.outcome if plan.control is not None else controls.overruled(judged)
            cells.setdefault(plan.id.key, []).append((judged, outcome))
        merged = [merge(repeats) for repeats in cells.values()]
        real = tuple(cell for cell in merged if cell.control is None)
        distrust = self._distrust(real)
        run = self._run
        figures = dict(self._ended.figures) if self._ended is not None else {}
        figures |= {"records": float(self.records), "records_judged": float(self.judge.records)}
        return Results(
            run=RunResult(
                id=run.run,
                started_at=run.started_at,
                started_monotonic=run.t,
                scale=run.scale,
                deadline_seconds=run.deadline_seconds,
                control_plane=run.control_plane,
                trusted=not distrust,
                distrust=distrust,
                figures=figures,
            ),
            stacks={name: _stack(name, stack, real) for name, stack in run.stacks.items()},
            scenarios=run.scenarios,
            cells=real,
            controls=tuple(cell for cell in merged if cell.control is not None),
        )

    def _not_run(self, cell: str) -> Outcome:
        begun = cell in self._begun
        reason = "it began, but never closed" if begun else "the run ended before it began"
        return Outcome(verdict=Verdict.NOT_RUN, reason=reason, proof=NONE)

    def _distrust(self, real: Sequence[CellResult]) -> tuple[str, ...]:
        """Why this run cannot be trusted."""
        reasons = []
        if self.judge.records != self.records:
            reasons.append(f"the judge saw {self.judge.records} of {self.records} records")
        unjudged = sum(cell not in self._judged for cell in self._closed)
        if unjudged:
            reasons.append(f"{unjudged} cells closed without a verdict")
        if self.judge.strays:
            reasons.append(f"{self.judge.strays} records belong to no open cell")
        skips = {plan.skip.reason for plan in self._plans.values() if plan.skip is not None}
        reasons += _invalid(real, skips)
        not_run = sum(cell.verdict is Verdict.NOT_RUN for cell in real)
        if not_run:
            reasons.append(f"{not_run} of {len(real)} cells were planned, but not run to their end")
        return tuple(reasons)


def results_of(records: Iterable[Record]) -> Results:
    """The results of a whole journal."""
    docket = Docket()
    for record in records:
        docket.take(record)
    return docket.results()


def merge(repeats: Sequence[tuple[Judged, Outcome]]) -> CellResult:
    """One cell from its repeats: those that say nothing do not count, unless none says anything."""
    first, first_outcome = repeats[0]
    silent = (Verdict.INVALID, Verdict.NOT_RUN)
    counted = [(judged, outcome) for judged, outcome in repeats if outcome.verdict not in silent]
    if counted:
        judged, outcome = max(counted, key=_badness)
    else:
        invalid = [pair for pair in repeats if pair[1].verdict is Verdict.INVALID]
        judged, outcome = invalid[0] if invalid else (first, first_outcome)
    verdict, reason = outcome.verdict, outcome.reason
    verdicts = [each.verdict for _, each in counted]
    if len(set(verdicts)) > 1:
        verdict = Verdict.FLAKY
        shares = [f"{each.value} {verdicts.count(each)} of {len(verdicts)}" for each in dict.fromkeys(verdicts)]
        reason = f"{', '.join(shares)}; {outcome.verdict.value}: {reason}"
    plan = judged.plan
    return CellResult(
        stack=plan.id.stack,
        profile=plan.id.profile,
        scenario=plan.id.scenario,
        verdict=verdict,
        delay_seconds=max((o.delay_seconds for _, o in counted if o.delay_seconds is not None), default=None),
        reason=reason,
        proof=outcome.proof,
        settings=SettingsResult(asked=plan.asked, effective=plan.effective),
        repeats=tuple(
            RepeatResult(verdict=each.verdict, delay_seconds=each.delay_seconds, reason=each.reason)
            for _, each in repeats
        ),
        evidence=judged.evidence,
        control=plan.control,
    )


def _badness(pair: tuple[Judged, Outcome]) -> tuple[int, float]:
    outcome = pair[1]
    severity = SEVERITY.index(outcome.verdict) if outcome.verdict in SEVERITY else -1
    return severity, outcome.delay_seconds or 0.0


def _invalid(real: Sequence[CellResult], skips: set[str]) -> list[str]:
    """Too many invalid cells, or one that does not say why. Those that this run could never decide are left aside."""
    reasons = []
    left_out = [cell for cell in real if cell.verdict is Verdict.INVALID and cell.reason in skips]
    decidable = [cell for cell in real if cell not in left_out and not _not_scalable(cell)]
    invalid = [cell for cell in decidable if cell.verdict is Verdict.INVALID]
    if len(invalid) > MAX_INVALID_SHARE * len(decidable):
        share = len(invalid) / len(decidable)
        reasons.append(f"{len(invalid)} of {len(decidable)} cells are invalid ({share:.0%}, at most 5 % may be)")
    unnamed = [cell for cell in invalid if not (cell.reason in skips or cell.reason.startswith(CAUSES))]
    reasons += [f"{cell.stack}/{cell.profile}/{cell.scenario} is invalid without a cause" for cell in unnamed]
    return reasons


def _not_scalable(cell: CellResult) -> bool:
    return cell.verdict is Verdict.INVALID and cell.reason.startswith(Cause.NOT_SCALABLE.value)


def _stack(name: str, stack: StackResult, cells: Sequence[CellResult]) -> StackResult:
    """Adds what its programs said of themselves and what packets showed of its keepalive."""
    evidence: dict[str, list[dict[str, Any]]] = {}
    runtime, version = stack.runtime, stack.version
    for cell in cells:
        if cell.stack != name:
            continue
        program = cell.evidence.get("program")
        if isinstance(program, dict):
            runtime = runtime or program.get("runtime")
            version = version or program.get("version")
        waited = cell.evidence.get("undisturbed")
        if isinstance(waited, float) and cell.verdict is not Verdict.INVALID:
            evidence.setdefault(cell.profile, []).append(cell.evidence)
    return stack.model_copy(
        update={"runtime": runtime, "version": version, "measured_keepalive": keepalive.measured(evidence)}
    )
