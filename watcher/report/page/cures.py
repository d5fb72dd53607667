"""What a setting does to the stacks that fail as shipped: in this run and, where it tried no other, in another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from watcher.model import CellResult, Results, Verdict
from watcher.report.index import Published
from watcher.report.words import DECIDED

DEFAULT = "default"

WORST_FIRST = (Verdict.STUCK, Verdict.LATE, Verdict.FLAKY, Verdict.FALSE_ABORT, Verdict.DIED, Verdict.OK)
"""As the summary names them."""

Group = tuple[Verdict, tuple[str, ...]]
"""A verdict, and the stacks that have it."""


@dataclass(frozen=True)
class Cure:
    """What one setting does to the stacks that fail as shipped."""

    profile: str
    outcomes: tuple[Group, ...]
    """Of those for which it was decided; best first."""
    failing: int
    """How many stacks fail as shipped, whether or not they have the setting."""
    delays_seconds: tuple[float, float] | None = field(default=None, compare=False)
    """Shortest and longest of those who saw the change, but not well enough to be cured."""

    @property
    def cured(self) -> int:
        return sum(len(stacks) for verdict, stacks in self.outcomes if verdict is Verdict.OK)

    @property
    def tried(self) -> int:
        return sum(len(stacks) for _, stacks in self.outcomes)

    @property
    def only(self) -> Verdict | None:
        """The one verdict that all of them have."""
        return self.outcomes[0][0] if len(self.outcomes) == 1 else None


@dataclass(frozen=True)
class Elsewhere:
    """What another published run knows of the same library versions in the same scenario."""

    run: str
    stacks: tuple[str, ...]
    """Those that fail there with their defaults as they do here, and were tried there with other settings."""
    cures: tuple[str, ...]
    """The settings of which each one alone cures each of ``stacks`` there."""


def cures(cells: Iterable[CellResult], failing: Sequence[str]) -> tuple[Cure, ...]:
    """Each other setting that was decided for one of ``failing``; best first. ``cells`` are those of one scenario."""
    found = []
    cells = [cell for cell in cells if cell.stack in failing and cell.profile != DEFAULT]
    for profile in dict.fromkeys(cell.profile for cell in cells):
        tried = {cell.stack: cell for cell in cells if cell.profile == profile and cell.verdict in DECIDED}
        if not tried:
            continue
        verdicts = {stack: cell.verdict for stack, cell in tried.items()}
        delays = [
            cell.delay_seconds
            for cell in tried.values()
            if cell.verdict is not Verdict.OK and cell.delay_seconds is not None
        ]
        span = (min(delays), max(delays)) if delays else None
        found.append(Cure(profile, groups(verdicts, tuple(reversed(WORST_FIRST))), len(failing), span))
    return tuple(sorted(found, key=lambda cure: -cure.cured / cure.tried))


def groups(verdicts: Mapping[str, Verdict], order: tuple[Verdict, ...]) -> tuple[Group, ...]:
    found = [(verdict, tuple(stack for stack, its in verdicts.items() if its is verdict)) for verdict in order]
    return tuple((verdict, stacks) for verdict, stacks in found if stacks)


def elsewhere(scenario: str, failing: Sequence[str], results: Results, others: Iterable[Published]) -> Elsewhere | None:
    """Of the other runs the one that tried most of ``failing`` with other settings; of equals the first.

    A run counts only if it can be trusted, ran in the same time, and says the same of the defaults: what cures
    another version of a library, or another failure, is not told here.
    """
    here = {cell.stack: cell.verdict for cell in results.cells if cell.scenario == scenario and cell.profile == DEFAULT}
    best = None
    for other in others:
        there = other.results
        if not there.run.trusted or there.run.scale != results.run.scale or not _same(scenario, results, there):
            continue
        cells = [cell for cell in there.cells if cell.scenario == scenario]
        alike = [
            cell.stack
            for cell in cells
            if cell.profile == DEFAULT
            and cell.stack in failing
            and cell.verdict is here[cell.stack]
            and _library(cell.stack, there) == _library(cell.stack, results)
        ]
        found = cures(cells, alike)
        tried = {stack for cure in found for _, stacks in cure.outcomes for stack in stacks}
        covered = tuple(stack for stack in alike if stack in tried)
        if covered and (best is None or len(covered) > len(best.stacks)):
            good = (cure.profile for cure in found if cure.only is Verdict.OK and cure.tried == len(covered))
            best = Elsewhere(other.name, covered, tuple(good))
    return best


def _same(scenario: str, results: Results, there: Results) -> bool:
    known, other = results.scenarios.get(scenario), there.scenarios.get(scenario)
    return known is not None and other is not None and (known.path, known.fault) == (other.path, other.fault)


def _library(stack: str, results: Results) -> tuple[str, str | None] | None:
    known = results.stacks.get(stack)
    return (known.library, known.version) if known is not None else None
