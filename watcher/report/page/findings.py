"""What the matrix says in short: per network, who fails as shipped, and which settings cure it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from watcher.model import CellResult, Results, Verdict
from watcher.report.words import DECIDED

DEFAULT = "default"


@dataclass(frozen=True)
class Cure:
    profile: str
    cured: int
    tried: int
    """Stacks, of those that fail as shipped, for which the profile was decided."""


@dataclass(frozen=True)
class Finding:
    """Scenarios in which the same stacks fail in the same way, and the same settings help."""

    scenarios: tuple[str, ...]
    silent: tuple[str, ...]
    """Stacks that, as shipped, never saw the change and said nothing."""
    late: tuple[str, ...]
    """Those that saw it too late, or not always."""
    loud: tuple[str, ...]
    """Those that ended with an error."""
    good: tuple[str, ...]
    cures: tuple[Cure, ...]
    """Of all stacks that fail as shipped; best first."""

    @property
    def all_cured_by(self) -> tuple[str, ...]:
        return tuple(cure.profile for cure in self.cures if cure.cured == cure.tried)

    @property
    def some_cured_by(self) -> tuple[Cure, ...]:
        return tuple(cure for cure in self.cures if 0 < cure.cured < cure.tried)

    @property
    def not_cured_by(self) -> tuple[str, ...]:
        return tuple(cure.profile for cure in self.cures if cure.cured == 0)


def findings(results: Results) -> list[Finding]:
    """Worst first. A scenario without fault, or without a decided default, has none."""
    grouped: dict[tuple[object, ...], list[str]] = {}
    parts: dict[tuple[object, ...], Finding] = {}
    for name, scenario in results.scenarios.items():
        if scenario.fault == "none":
            continue
        found = _finding(name, [cell for cell in results.cells if cell.scenario == name])
        if found is None:
            continue
        key = (found.silent, found.late, found.loud, found.good, found.cures)
        grouped.setdefault(key, []).append(name)
        parts[key] = found
    merged = [
        Finding(tuple(names), parts[key].silent, parts[key].late, parts[key].loud, parts[key].good, parts[key].cures)
        for key, names in grouped.items()
    ]
    return sorted(merged, key=lambda found: (-len(found.silent), -len(found.scenarios), -len(found.loud)))


def _finding(name: str, cells: list[CellResult]) -> Finding | None:
    shipped = {cell.stack: cell.verdict for cell in cells if cell.profile == DEFAULT and cell.verdict in DECIDED}
    if not shipped:
        return None

    def having(*verdicts: Verdict) -> tuple[str, ...]:
        return tuple(stack for stack, verdict in shipped.items() if verdict in verdicts)

    failing = [stack for stack, verdict in shipped.items() if verdict is not Verdict.OK]
    return Finding(
        scenarios=(name,),
        silent=having(Verdict.STUCK),
        late=having(Verdict.LATE, Verdict.FLAKY, Verdict.FALSE_ABORT),
        loud=having(Verdict.DIED),
        good=having(Verdict.OK),
        cures=tuple(_cures(cells, failing)) if failing else (),
    )


def _cures(cells: list[CellResult], failing: list[str]) -> Iterable[Cure]:
    found = []
    for profile in dict.fromkeys(cell.profile for cell in cells):
        tried = [
            cell.verdict
            for cell in cells
            if cell.profile == profile and cell.stack in failing and cell.verdict in DECIDED
        ]
        if tried and profile != DEFAULT:
            found.append(Cure(profile, tried.count(Verdict.OK), len(tried)))
    return sorted(found, key=lambda cure: -cure.cured / cure.tried)
