"""Shortcuts of the judge's tests: judge one stage's records, and replace some of them first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.unit.judge.stage import Stage
from watcher.judge.fold import Judge, Judged
from watcher.records import Planned, Record


def judged(records: Iterable[Record], stage: Stage) -> Judged:
    """The judge's word on one cell, before any control."""
    judge = Judge()
    judge.step(Planned(t=0, cell=stage.cell, plan=stage.plan))
    found = [each for record in records for each in judge.step(record)]
    assert len(found) == 1, "the cell closed once"
    return found[0]


def judged_without(stage: Stage, unwanted: Callable[[Record], bool]) -> Judged:
    return judged([record for record in stage.records if not unwanted(record)], stage)


def said(found: Judged) -> tuple[str, str]:
    """Verdict and reason."""
    return found.outcome.verdict.value, found.outcome.reason
