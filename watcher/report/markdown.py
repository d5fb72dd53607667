"""The matrix as GitHub Markdown: the same content as the terminal's, for a pull request or a page of results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from watcher.model import CellResult, Results
from watcher.report.matrix import Row, build, figures, heading
from watcher.report.words import MARKS, cell_text, printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$])")


def escape(text: str) -> str:
    """``text`` as it reads, whatever it holds: no markup, no HTML, no new table column, no new line."""
    html = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", html)


def render(results: Results) -> str:
    """A whole document; ends with a newline."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Results) -> Iterator[str]:
    matrix = build(results)
    yield "# Matrix"
    yield ""
    yield escape(heading(results))
    yield ""
    if not results.run.trusted:
        yield "**This run cannot be trusted:**"
        yield ""
        yield from (f"- {escape(reason)}" for reason in results.run.distrust)
        yield ""
    yield from header(["stack", "profile", *matrix.scenarios])
    for group in matrix.groups:
        for row in group.rows:
            yield line([escape(group.title), escape(row.label), *_cells(row)])
    for row in matrix.controls:
        yield line(["*control*", f"*{escape(row.label)}*", *_cells(row)])
    yield ""
    yield from header(["symbol", "reads", "means"])
    present = {cell.verdict for cell in (*results.cells, *results.controls)}
    for verdict, mark in MARKS.items():
        if verdict in present:
            yield line([escape(mark.symbol), mark.reading, escape(mark.meaning)])
    yield ""
    yield from header(["stack", "library, version, runtime", "built-in timers"])
    for group in matrix.groups:
        known = results.stacks.get(group.title)
        timers = ", ".join(f"{each.name} {each.seconds:g} s" for each in known.timers) if known else ""
        yield line([escape(group.title), escape(group.note), escape(timers)])
    yield ""
    yield from header(["scenario", "what happens", "path", "bug reports"])
    for name, scenario in results.scenarios.items():
        threads = " ".join(f"<{thread}>" for thread in scenario.threads if re.fullmatch(r"https://[^\s<>|\\]+", thread))
        path = escape(scenario.path)
        yield line([escape(name), escape(scenario.description), path, threads])
    if matrix.unexplained:
        yield ""
        yield "## Why a cell is not ok"
        yield ""
        yield from (_reason(cell) for cell in matrix.unexplained)
    if matrix.not_built:
        yield ""
        yield "## Not built"
        yield ""
        yield from (f"- {escape(stack)}: {escape(why)}" for stack, why in matrix.not_built)
    yield ""
    yield "## Figures"
    yield ""
    yield from (f"- {escape(figure)}" for figure in figures(results))


def _reason(cell: CellResult) -> str:
    where = " / ".join(map(escape, (cell.stack, cell.profile, cell.scenario)))
    return f"- {escape(MARKS[cell.verdict].symbol)} {where}: **{cell.verdict}**: {escape(cell.reason)}"


def _cells(row: Row) -> Iterable[str]:
    return (escape(cell_text(cell)) for cell in row.cells)


def header(names: Iterable[str]) -> Iterator[str]:
    """The first two lines of a table."""
    escaped = [escape(name) for name in names]
    yield line(escaped)
    yield line("---" for _ in escaped)


def line(cells: Iterable[str]) -> str:
    """A table's row; the cells are escaped already."""
    return f"| {' | '.join(cells)} |"
