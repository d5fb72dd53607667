"""The matrix as data: which row, which column, which cell; every kind of report is laid out from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from watcher.model import CellResult, Results, Verdict
from watcher.report.words import DECIDED, NEEDS_NO_REASON, seconds_text


@dataclass(frozen=True)
class Row:
    label: str
    cells: tuple[CellResult | None, ...]
    """One for each scenario of the matrix; None where the run has no such cell."""


@dataclass(frozen=True)
class Group:
    """The rows of one stack."""

    title: str
    note: str
    """Library, version and runtime that really ran."""
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Matrix:
    scenarios: tuple[str, ...]
    groups: tuple[Group, ...]
    controls: tuple[Row, ...]
    unexplained: tuple[CellResult, ...]
    """The cells that need a line of reason, in the order of the rows."""
    not_built: tuple[tuple[str, str], ...]
    """Each stack that could not be built, with why."""


def build(results: Results) -> Matrix:
    """Rows by stack then profile, columns by scenario, both in the order of the results."""
    scenarios = tuple(results.scenarios)
    cells = results.by_key()
    stacks = dict.fromkeys(cell.stack for cell in results.cells)
    groups = []
    for stack in stacks:
        profiles = dict.fromkeys(cell.profile for cell in results.cells if cell.stack == stack)
        rows = tuple(Row(p, tuple(cells.get((stack, p, s)) for s in scenarios)) for p in profiles)
        groups.append(Group(stack, _note(results, stack), rows))
    ordered = [cell for group in groups for row in group.rows for cell in row.cells if cell is not None]
    return Matrix(
        scenarios=scenarios,
        groups=tuple(groups),
        controls=_controls(results, scenarios),
        unexplained=tuple(cell for cell in ordered if cell.verdict not in NEEDS_NO_REASON),
        not_built=tuple(
            dict.fromkeys((cell.stack, cell.reason) for cell in ordered if cell.verdict is Verdict.NOT_BUILT)
        ),
    )


def _note(results: Results, stack: str) -> str:
    known = results.stacks.get(stack)
    if known is None:
        return ""
    return ", ".join(part for part in (f"{known.library} {known.version or ''}".strip(), known.runtime) if part)


def _controls(results: Results, scenarios: tuple[str, ...]) -> tuple[Row, ...]:
    by_role = {(str(cell.control), cell.scenario): cell for cell in results.controls}
    roles = dict.fromkeys(role for role, _ in by_role)
    return tuple(Row(role, tuple(by_role.get((role, scenario)) for scenario in scenarios)) for role in roles)


def figures(results: Results) -> list[str]:
    """What the run measured of itself, one short line each; a figure that was not measured is left out."""
    counts = Counter(cell.verdict for cell in results.cells)
    decided = sum(counts[verdict] for verdict in DECIDED)
    invalid = counts[Verdict.INVALID]
    measured = results.run.figures
    line = f"{decided} of {len(results.cells)} cells decided"
    if invalid:
        line += f", {invalid} invalid ({invalid / len(results.cells):.0%})"
    lines = [line]
    if "setup_seconds" in measured:
        lines.append(f"the lab was ready in {seconds_text(measured['setup_seconds'])} s")
    if "wall_seconds" in measured:
        lines.append(f"the run took {seconds_text(measured['wall_seconds'])} s")
    if "longest_cell_seconds" in measured:
        lines[-1] += f"; its longest cell takes {seconds_text(measured['longest_cell_seconds'])} s"
    if "start_seconds" in measured:
        lines[-1] += f", starting all programs {seconds_text(measured['start_seconds'])} s, partly meanwhile"
    return lines


def heading(results: Results) -> str:
    """Which run this is, and what a reader must know before comparing seconds."""
    run = results.run
    time = "true time" if run.scale == 1 else f"scale {run.scale:g}: every duration is 1/{run.scale:g} of the true one"
    heading = f"run {run.id}, {time}, deadline {run.deadline_seconds:g} s, {run.control_plane} control plane"
    if run.scale == 1:
        return heading
    return f"{heading}; all seconds below are this run's: times {run.scale:g} they are true ones"
