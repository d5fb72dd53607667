"""A published run in the README: the matrix, and the short form that answers for the defaults alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from watcher.errors import FileError
from watcher.model import Coming, Results, Verdict
from watcher.report import clients
from watcher.report.index import Published, time_of
from watcher.report.markdown import escape, header, line
from watcher.report.matrix import Group, Row, build
from watcher.report.words import DECIDED, MARKS, cell_text

BEGIN = "<!-- results -->"
END = "<!-- /results -->"


def replaced(text: str, content: str, file: str, markers: tuple[str, str] = (BEGIN, END)) -> str:
    """``text`` with ``content`` between its markers; FileError unless each marker stands there once, in order."""
    begin, end = markers
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise FileError(file, None, f"needs one {begin} and, after it, one {end}", advice="the table goes in between")
    return f"{text.partition(begin)[0]}{begin}\n{content}{end}{text.partition(end)[2]}"


def shown(runs: Sequence[Published]) -> Published:
    """Of these, newest first, the one for a first look: the newest of those with the most stacks.

    A reader looks for their own library. A run of a few stacks through many scenarios is a table of its own.
    """
    return max(runs, key=lambda run: len(run.results.stacks))


def block(run: Published, link: str, coming: Sequence[Coming] = ()) -> str:
    """What stands between the markers; ``link`` leads to the run's matrix. Ends with a newline.

    Of ``coming`` those keep a place whose protocol the run is about and whose language it lacks: who looks for
    theirs reads that it was not tested, instead of nothing.
    """
    protocols = {stack.protocol for stack in run.results.stacks.values()}
    languages = {stack.language for stack in run.results.stacks.values()}
    kept = [each for each in coming if each.protocol in protocols and each.language not in languages]
    return "\n".join(_block(run, link, kept)) + "\n"


def _block(run: Published, link: str, coming: Sequence[Coming]) -> Iterator[str]:
    results = run.results
    matrix = build(results)
    deadline = f"{results.run.deadline_seconds:g} s"
    yield (
        f"Run [{run.name}]({link}) of {run.began.day} {run.began:%B %Y}: {escape(time_of(results))},"
        f" {escape(results.run.control_plane)} control plane, {escape(run.kernel)},"
        f" each cell {_repeats(results)}, deadline {deadline}."
    )
    yield ""
    yield from header(["stack", "profile", *matrix.scenarios])
    for group in matrix.groups:
        title = f"**{escape(group.title)}**"
        for row in _counted(group):
            yield line([title, escape(row.label), *(escape(cell_text(cell)) for cell in row.cells)])
            title = ""
    for each in coming:
        yield line(
            [f"**{escape(each.language)}** ({escape(each.library)})", clients.TO_COME, *("" for _ in matrix.scenarios)]
        )
    for row in matrix.controls:
        yield line(["*control*", f"*{escape(row.label)}*", *(escape(cell_text(cell)) for cell in row.cells)])
    yield ""
    yield from _legend(results, [row for group in matrix.groups for row in _counted(group)])
    if coming:
        yield f"- {clients.TO_COME}: has no program yet, so nothing is known of it"
    left_out = [f"{escape(group.title)} {names}" for group in matrix.groups if (names := _unsupported(group))]
    if left_out:
        yield f"- not in the table, since the library has no such setting: {'; '.join(left_out)}"
    yield ""
    yield "With the library as its own documentation shows it, nothing added:"
    yield ""
    yield from clients.rows(results, coming)


def _repeats(results: Results) -> str:
    counts = [len(cell.repeats) for cell in results.cells if cell.verdict in DECIDED] or [1]
    words = {1: "once", 2: "twice"}
    least, most = (words.get(number, f"{number} times") for number in (min(counts), max(counts)))
    return least if least == most else f"{least}, where they disagreed {most}"


def _counted(group: Group) -> list[Row]:
    """Without the rows of settings that the library does not have: nothing happened there."""
    return [row for row in group.rows if any(cell and cell.verdict is not Verdict.UNSUPPORTED for cell in row.cells)]


def _unsupported(group: Group) -> str:
    counted = _counted(group)
    return ", ".join(escape(row.label) for row in group.rows if row not in counted)


def _legend(results: Results, rows: list[Row]) -> Iterator[str]:
    present = {cell.verdict for row in rows for cell in row.cells if cell} | {cell.verdict for cell in results.controls}
    for verdict, mark in MARKS.items():
        if verdict in present:
            yield f"- {escape(mark.symbol)} {escape(mark.meaning)}"
    if any(cell is None for row in rows for cell in row.cells):
        yield "- an empty cell was not part of the run"
