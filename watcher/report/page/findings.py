"""What the matrix says in short: per network, who fails as shipped, and what each setting does about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from watcher.model import CellResult, Results, ScenarioResult, Verdict
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
class Finding:
    """Scenarios in which the same stacks fail in the same way, and the same settings help."""

    scenarios: tuple[str, ...]
    shipped: tuple[Group, ...]
    """What the stacks do with their defaults; worst first."""
    uncounted: tuple[str, ...]
    """Stacks whose default ran here and says nothing about them."""
    absent: tuple[str, ...]
    """Stacks of the run whose default was not part of it here."""
    cures: tuple[Cure, ...]
    """Best first."""

    def having(self, verdict: Verdict) -> tuple[str, ...]:
        return dict(self.shipped).get(verdict, ())

    @property
    def failing(self) -> int:
        return sum(len(stacks) for verdict, stacks in self.shipped if verdict is not Verdict.OK)

    @property
    def cures_of_all(self) -> tuple[Cure, ...]:
        """Each of them cures each stack that fails here."""
        return tuple(cure for cure in self.cures if cure.only is Verdict.OK and cure.tried == cure.failing)

    @property
    def cures_where_there(self) -> tuple[Cure, ...]:
        """They cure whoever has such a setting, which not all have."""
        return tuple(cure for cure in self.cures if cure.only is Verdict.OK and cure.tried < cure.failing)

    @property
    def cures_of_some(self) -> tuple[Cure, ...]:
        """What they do differs from stack to stack."""
        return tuple(cure for cure in self.cures if cure.only is None)

    @property
    def no_cures(self) -> tuple[tuple[Verdict, tuple[Cure, ...]], ...]:
        """Settings that leave every stack with the same failure, mildest failure first."""
        kinds = [verdict for verdict in reversed(WORST_FIRST) if verdict is not Verdict.OK]
        grouped = [(verdict, tuple(cure for cure in self.cures if cure.only is verdict)) for verdict in kinds]
        return tuple((verdict, cures) for verdict, cures in grouped if cures)


def findings(results: Results) -> list[Finding]:
    """Worst first. A scenario without fault, or without a decided default, has none."""
    merged: dict[tuple[object, ...], Finding] = {}
    for name, scenario in results.scenarios.items():
        found = _finding(name, scenario, results)
        if found is None:
            continue
        key = (found.shipped, found.uncounted, found.absent, found.cures)
        merged[key] = _merged(merged[key], found) if key in merged else found
    order = sorted(merged.values(), key=lambda found: -len(found.having(Verdict.DIED)))
    return sorted(order, key=lambda found: (-len(found.having(Verdict.STUCK)), -len(found.scenarios)))


def _finding(name: str, scenario: ScenarioResult, results: Results) -> Finding | None:
    cells = [cell for cell in results.cells if cell.scenario == name]
    defaults = {cell.stack: cell.verdict for cell in cells if cell.profile == DEFAULT}
    shipped = {stack: verdict for stack, verdict in defaults.items() if verdict in DECIDED}
    if scenario.fault == "none" or not shipped:
        return None
    failing = [stack for stack, verdict in shipped.items() if verdict is not Verdict.OK]
    everybody = dict.fromkeys(cell.stack for cell in results.cells if cell.profile == DEFAULT)
    return Finding(
        scenarios=(name,),
        shipped=_groups(shipped, WORST_FIRST),
        uncounted=tuple(stack for stack in defaults if stack not in shipped),
        absent=tuple(stack for stack in everybody if stack not in defaults),
        cures=tuple(_cures(cells, failing)) if failing else (),
    )


def _cures(cells: list[CellResult], failing: list[str]) -> Iterable[Cure]:
    found = []
    for profile in dict.fromkeys(cell.profile for cell in cells if cell.profile != DEFAULT):
        tried = {
            cell.stack: cell
            for cell in cells
            if cell.profile == profile and cell.stack in failing and cell.verdict in DECIDED
        }
        if not tried:
            continue
        verdicts = {stack: cell.verdict for stack, cell in tried.items()}
        delays = [
            cell.delay_seconds
            for cell in tried.values()
            if cell.verdict is not Verdict.OK and cell.delay_seconds is not None
        ]
        span = (min(delays), max(delays)) if delays else None
        found.append(Cure(profile, _groups(verdicts, tuple(reversed(WORST_FIRST))), len(failing), span))
    return sorted(found, key=lambda cure: -cure.cured / cure.tried)


def _groups(verdicts: Mapping[str, Verdict], order: tuple[Verdict, ...]) -> tuple[Group, ...]:
    groups = [(verdict, tuple(stack for stack, its in verdicts.items() if its is verdict)) for verdict in order]
    return tuple((verdict, stacks) for verdict, stacks in groups if stacks)


def _merged(one: Finding, other: Finding) -> Finding:
    """Both say the same, but for the seconds."""
    cures = tuple(
        replace(cure, delays_seconds=_span(cure.delays_seconds, twin.delays_seconds))
        for cure, twin in zip(one.cures, other.cures, strict=True)
    )
    return replace(one, scenarios=one.scenarios + other.scenarios, cures=cures)


def _span(one: tuple[float, float] | None, other: tuple[float, float] | None) -> tuple[float, float] | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])
