"""The matrix for a terminal or a pipe, as lines of text; nothing here reads the surroundings.

On a terminal the layout follows the width: wrapped scenario names, then numbered columns, then blocks of columns.
Without a width (a pipe) every line is whole, so that it can be searched line by line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from watcher.model import CellResult, Results
from watcher.report.matrix import Group, Matrix, Row, build, figures, heading
from watcher.report.words import MARKS, Reading, cell_text, printable

CONTROLS = "controls (perfect must be ok, deaf must be stuck)"
GAP = 1
INDENT = 2
IN_ASCII = str.maketrans({"✓": "+", "✗": "x", "†": "f", "±": "%", "·": ".", "…": "~"})


def show(lines: Iterable[Text], console: Console) -> None:
    """Prints lines as they are: no wrapping, no markup, and plain ASCII where the output cannot carry more."""
    for line in lines:
        if not console.encoding.startswith("utf"):
            line.plain = line.plain.translate(IN_ASCII).encode("ascii", "replace").decode()
        console.print(line, soft_wrap=True, highlight=False)


def columns(console: Console) -> int | None:
    """The width to lay a report out for: the terminal's, or None where the output is a pipe or a file."""
    return console.width if console.is_terminal else None


def report(results: Results, width: int | None) -> Iterator[Text]:
    """The whole report; ``width`` is the terminal's columns, None for a pipe."""
    for line in _report(results, width):
        if width is not None:
            line.truncate(width, overflow="ellipsis")
        yield line


def _report(results: Results, width: int | None) -> Iterator[Text]:
    matrix = build(results)
    yield from _wrapped(printable(heading(results)), width)
    yield Text()
    yield from _table(matrix, width)
    yield Text()
    yield from legend(results, width)
    if matrix.unexplained:
        yield Text()
        yield Text("Why a cell is not ok", style="bold")
        for cell in matrix.unexplained:
            yield from _reason(cell, width)
    if matrix.not_built:
        yield Text()
        yield Text("Not built", style="bold")
        for stack, why in matrix.not_built:
            yield from _hanging(f"{printable(stack)}: ", printable(why), width, "", 2)
    yield Text()
    for line in figures(results):
        yield from _wrapped(line, width)
    yield from _trust(results, width)


def legend(results: Results, width: int | None) -> Iterator[Text]:
    """The verdicts that occur, under what they mean to a reader."""
    present = {cell.verdict for cell in (*results.cells, *results.controls)}
    for reading in Reading:
        marks = [mark for verdict, mark in MARKS.items() if mark.reading is reading and verdict in present]
        for number, mark in enumerate(marks):
            head = f"{reading if number == 0 else '':<{len(Reading.PASS_WITH_RESTARTS)}}  {mark.symbol} "
            yield from _hanging(head, mark.meaning, width, mark.style, len(head) - 2)


def _reason(cell: CellResult, width: int | None) -> Iterator[Text]:
    mark = MARKS[cell.verdict]
    where = f"{cell.stack} / {cell.profile} / {cell.scenario}"
    said = f"{where}: {cell.verdict}: {cell.reason}" if cell.reason else f"{where}: {cell.verdict}"
    yield from _hanging(f"{mark.symbol} ", printable(said), width, mark.style, 0)


def _trust(results: Results, width: int | None) -> Iterator[Text]:
    if results.run.trusted:
        return
    yield Text("This run cannot be trusted:", style="bold red")
    for reason in results.run.distrust:
        yield from _hanging("- ", printable(reason), width, "", 0)


def wrap(text: str, width: int, indent: str) -> list[str]:
    """``text`` in lines of at most ``width`` (20 at least), names left whole, all but the first indented."""
    return textwrap.wrap(text, max(width, 20), subsequent_indent=indent, break_on_hyphens=False)


def _wrapped(text: str, width: int | None) -> Iterator[Text]:
    yield from (Text(line) for line in (wrap(text, width, "") if width else [text]))


def _hanging(head: str, text: str, width: int | None, style: str, styled_from: int) -> Iterator[Text]:
    """``head`` once, then ``text`` beside it; continued lines stay to the right of ``head`` where there is room."""
    indent = len(head) if width is None or width >= 2 * len(head) + 20 else INDENT
    parts = wrap(head + text, width, " " * indent) if width else [head + text]
    for number, part in enumerate(parts):
        line = Text(part)
        if number == 0:
            line.stylize(style, styled_from, len(head))
        yield line


def _table(matrix: Matrix, width: int | None) -> Iterator[Text]:
    rows = [*(row for group in matrix.groups for row in group.rows), *matrix.controls]
    label = INDENT + max((len(printable(row.label)) for row in rows), default=0)
    names = [printable(name) for name in matrix.scenarios]
    pieces = [_pieces(name) for name in names]
    widths = [
        max([len(piece) for piece in parts] + [len(cell_text(row.cells[number])) for row in rows])
        for number, parts in enumerate(pieces)
    ]
    if width is None or label + sum(GAP + wide for wide in widths) <= width:
        headers = [_fill(parts, wide) for parts, wide in zip(pieces, widths, strict=True)]
        yield from _block(matrix, range(len(names)), headers, widths, label, words=True)
        return
    yield from _numbered(matrix, names, rows, label, width)


def _numbered(matrix: Matrix, names: Sequence[str], rows: Sequence[Row], label: int, width: int) -> Iterator[Text]:
    """Columns that carry a number instead of a name, in as many blocks as the width asks for."""
    for number, name in enumerate(names, start=1):
        yield Text(f"{number:>{len(str(len(names)))}} {name}")
    widths = [
        max([len(str(number + 1))] + [len(cell_text(row.cells[number], words=False)) for row in rows])
        for number in range(len(names))
    ]
    start = 0
    while start < len(names):
        end = start + 1
        while end < len(names) and label + sum(GAP + wide for wide in widths[start : end + 1]) <= width:
            end += 1
        yield Text()
        headers = [[str(number + 1)] for number in range(start, end)]
        yield from _block(matrix, range(start, end), headers, widths[start:end], label, words=False)
        start = end


def _block(
    matrix: Matrix, columns: range, headers: Sequence[Sequence[str]], widths: Sequence[int], label: int, *, words: bool
) -> Iterator[Text]:
    height = max((len(header) for header in headers), default=0)
    for line in range(height):
        text = Text(" " * label)
        for header, wide in zip(headers, widths, strict=True):
            missing = height - len(header)
            text.append(" " * GAP)
            text.append((header[line - missing] if line >= missing else "").ljust(wide), style="bold")
        text.rstrip()
        yield text
    controls = Group(CONTROLS, "", matrix.controls)
    for group in (*matrix.groups, *([controls] if controls.rows else [])):
        title = Text(printable(group.title), style="" if group is controls else "bold")
        if group.note:
            title.append(f"  {printable(group.note)}", style="not bold dim")
        yield title
        for row in group.rows:
            text = Text((" " * INDENT + printable(row.label)).ljust(label))
            for column, wide in zip(columns, widths, strict=True):
                cell = row.cells[column]
                style = "dim" if group is controls or cell is None else MARKS[cell.verdict].style
                text.append(" " * GAP)
                text.append(cell_text(cell, words=words).ljust(wide), style=style)
            text.rstrip()
            yield text


def _pieces(name: str) -> list[str]:
    """``azure-slb-silent`` as ``azure-``, ``slb-``, ``silent``: where a column's head may be broken."""
    parts = name.split("-")
    return [*(f"{part}-" for part in parts[:-1]), parts[-1]]


def _fill(pieces: Sequence[str], wide: int) -> list[str]:
    filled = [""]
    for piece in pieces:
        if len(filled[-1]) + len(piece) <= wide:
            filled[-1] += piece
        else:
            filled.append(piece)
    return filled
