"""What the matrix says in short: per network, who fails as shipped, and what each setting does about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from watcher.model import Results, ScenarioResult, Verdict
from watcher.report.index import Published
from watcher.report.page.cures import DEFAULT, WORST_FIRST, Cure, Elsewhere, Group, cures, elsewhere, groups
from watcher.report.words import DECIDED

FIRST = 3
"""How many findings stand on the first screen where there are many; the others are one click away."""


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
    elsewhere: Elsewhere | None = None
    """Only where this run tried no other setting."""
    idle: bool = False
    """It takes no more than a quiet connection: in a cloud that is every day, and a cut is an accident."""

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
    def curable(self) -> int:
        """2: one setting cures all, here or in another run; 1: some are cured; 0: nothing that was tried helps."""
        if self.cures_of_all or (self.elsewhere is not None and self.elsewhere.cures):
            return 2
        return int(any(cure.cured for cure in self.cures))

    @property
    def no_cures(self) -> tuple[tuple[Verdict, tuple[Cure, ...]], ...]:
        """Settings that leave every stack with the same failure, mildest failure first."""
        kinds = [verdict for verdict in reversed(WORST_FIRST) if verdict is not Verdict.OK]
        grouped = [(verdict, tuple(cure for cure in self.cures if cure.only is verdict)) for verdict in kinds]
        return tuple((verdict, cures) for verdict, cures in grouped if cures)


def findings(results: Results, others: Iterable[Published] = ()) -> list[Finding]:
    """Silent failures first; of these first what can be cured, which a reader can use, and what every cloud does.

    A scenario without fault, or without a decided default, has none. ``others`` are asked where this run has nothing
    but defaults.
    """
    others = tuple(others)
    merged: dict[tuple[object, ...], Finding] = {}
    for name, scenario in results.scenarios.items():
        found = _finding(name, scenario, results, others)
        if found is None:
            continue
        key = (found.shipped, found.uncounted, found.absent, found.cures, found.elsewhere)
        merged[key] = _merged(merged[key], found) if key in merged else found
    return sorted(merged.values(), key=_place)


def split(found: list[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Those that stand at the top, and those that a click shows."""
    return found[:FIRST], found[FIRST:]


def _place(found: Finding) -> tuple[int, ...]:
    silent = len(found.having(Verdict.STUCK))
    died = len(found.having(Verdict.DIED))
    return (not silent, not found.failing, -found.curable, not found.idle, -silent, -len(found.scenarios), -died)


def _finding(name: str, scenario: ScenarioResult, results: Results, others: tuple[Published, ...]) -> Finding | None:
    cells = [cell for cell in results.cells if cell.scenario == name]
    defaults = {cell.stack: cell.verdict for cell in cells if cell.profile == DEFAULT}
    shipped = {stack: verdict for stack, verdict in defaults.items() if verdict in DECIDED}
    if scenario.fault == "none" or not shipped:
        return None
    failing = [stack for stack, verdict in shipped.items() if verdict is not Verdict.OK]
    everybody = dict.fromkeys(cell.stack for cell in results.cells if cell.profile == DEFAULT)
    tried = cures(cells, failing)
    return Finding(
        scenarios=(name,),
        shipped=groups(shipped, WORST_FIRST),
        uncounted=tuple(stack for stack in defaults if stack not in shipped),
        absent=tuple(stack for stack in everybody if stack not in defaults),
        cures=tried,
        elsewhere=elsewhere(name, failing, results, others) if failing and not tried else None,
        idle=scenario.fault == "idle-expiry",
    )


def _merged(one: Finding, other: Finding) -> Finding:
    """Both say the same, but for the seconds."""
    cures = tuple(
        replace(cure, delays_seconds=_span(cure.delays_seconds, twin.delays_seconds))
        for cure, twin in zip(one.cures, other.cures, strict=True)
    )
    return replace(one, scenarios=one.scenarios + other.scenarios, cures=cures, idle=one.idle or other.idle)


def _span(one: tuple[float, float] | None, other: tuple[float, float] | None) -> tuple[float, float] | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])
