"""The matrix as the template lays it out: columns by family of scenario, rows by language, library and stack."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from watcher.model import CellResult, Results, ScenarioResult
from watcher.report.matrix import Row, build
from watcher.report.page.cells import hint, role
from watcher.report.page.surroundings import Surroundings
from watcher.report.words import MARKS, cell_text

FAMILIES = {
    "none": "no fault",
    "idle-expiry": "the network forgets a quiet connection",
    "blackhole": "cut silently",
}
CONTROLS = "controls"


@dataclass(frozen=True)
class Shown:
    """A cell's text in its parts."""

    verdict: str
    symbol: str
    text: str


@dataclass(frozen=True)
class Line:
    profile: str
    hint: str
    cells: tuple[Shown | None, ...]


@dataclass(frozen=True)
class Block:
    """The rows of one stack."""

    stack: str
    language: str
    library: str
    version: str
    note: str
    lines: tuple[Line, ...]
    default_source: str = ""
    """The upstream page whose example the ``default`` profile is."""


@dataclass(frozen=True)
class Column:
    name: str
    head: str
    """With room to break after each hyphen."""
    note: str
    path: str


@dataclass(frozen=True)
class Family:
    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Table:
    families: tuple[Family, ...]
    blocks: tuple[Block, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(column for family in self.families for column in family.columns)


def table(results: Results, around: Surroundings) -> Table:
    """Stacks of one language and library stand together; otherwise the order is that of the results."""
    matrix = build(results)
    families = _families(results.scenarios, around)
    order = [matrix.scenarios.index(column.name) for family in families for column in family.columns]
    groups = sorted(matrix.groups, key=lambda group: _library(results, group.title))
    blocks = [_block(results, group.title, group.rows, order, around) for group in groups]
    if matrix.controls:
        blocks.append(
            Block(
                stack=CONTROLS,
                language="",
                library="",
                version="",
                note="two clients of the lab's own; if one of them is not as it must be, its column does not count",
                lines=tuple(_control(row, order) for row in matrix.controls),
            )
        )
    return Table(families, tuple(blocks))


def _families(scenarios: dict[str, ScenarioResult], around: Surroundings) -> tuple[Family, ...]:
    found: dict[str, list[Column]] = {fault: [] for fault in FAMILIES}
    for name, scenario in scenarios.items():
        column = Column(name, name.replace("-", "-\u200b"), around.paths.get(scenario.path, ""), scenario.path)
        found.setdefault(scenario.fault, []).append(column)
    return tuple(
        Family(FAMILIES.get(fault, fault.replace("-", " ")), tuple(columns))
        for fault, columns in found.items()
        if columns
    )


def _library(results: Results, stack: str) -> tuple[str, str]:
    known = results.stacks.get(stack)
    return (known.language.lower(), known.library) if known is not None else ("", stack)


def _block(results: Results, stack: str, rows: Iterable[Row], order: list[int], around: Surroundings) -> Block:
    known = results.stacks.get(stack)
    program = around.programs.get(stack)
    return Block(
        stack=stack,
        language=known.language if known else "",
        library=known.library if known else "",
        version=(known.version or "") if known else "",
        note=program.description if program else "",
        lines=tuple(_line(row, order) for row in rows),
        default_source=program.default_source if program else "",
    )


def _line(row: Row, order: list[int]) -> Line:
    first = next((cell for cell in row.cells if cell is not None), None)
    return Line(row.label, hint(first.settings.asked) if first else "", _cells(row, order))


def _control(row: Row, order: list[int]) -> Line:
    first = next((cell for cell in row.cells if cell is not None), None)
    return Line(row.label, role(first.control if first else None), _cells(row, order))


def _cells(row: Row, order: list[int]) -> tuple[Shown | None, ...]:
    return tuple(_shown(row.cells[number]) for number in order)


def _shown(cell: CellResult | None) -> Shown | None:
    if cell is None:
        return None
    symbol = MARKS[cell.verdict].symbol
    text = cell_text(cell).removeprefix(symbol).strip()
    if re.fullmatch(r"[\d.]+", text):
        text += " s"
    return Shown(cell.verdict.value, symbol, text)
