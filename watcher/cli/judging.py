"""``watcher judge`` and ``watcher diff``: what can be said of runs that are over, on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import console, print_json, replace
from watcher.errors import FileError, UsageError

if TYPE_CHECKING:
    from watcher.model import Results

JUDGE_EPILOG = """
**Examples**

`watcher judge runs/20261121-083000` : print the matrix of a run

`watcher judge runs/20261121-083000 --write` : and replace its results.json and matrix.md

**Exit status:** 0 the run can be trusted; 2 wrong usage; 3 it cannot be trusted.
"""

DIFF_EPILOG = """
**Examples**

`watcher diff runs/before runs/after` : did an upgrade change a verdict?

`watcher diff runs/scaled runs/true-time --json` : for scripts

`watcher diff results/A results/B --html diff.html` : did the new version fix it? For people

**Exit status:** 0 no difference; 1 a verdict differs in a cell that both runs decide; 2 wrong usage.
"""

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its journal.", show_default=False)]


def judge(
    run: RunFolder,
    write: Annotated[
        bool, typer.Option("--write", help="Replace the files in the folder that are derived from the journal.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the matrix.")] = False,
) -> None:
    """Judge a saved run again, from its journal alone.

    Nothing of the earlier judgement is used: a published run can be checked, or judged by newer rules.
    """
    from watcher.report import files, terminal

    results = judged(run)
    if write:
        folder = run if run.is_dir() else run.parent
        for name, content in files.derived(results).items():
            replace(folder / name, content)
    if as_json:
        typer.echo(files.derived(results)[files.RESULTS], nl=False)
    else:
        out = console()
        terminal.show(terminal.report(results, terminal.columns(out)), out)
    raise typer.Exit(0 if results.run.trusted else 3)


def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="A run's folder or results.json.", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="B", help="Another one.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Every cell, as JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page, too.", show_default=False)
    ] = None,
) -> None:
    """Compare two runs cell by cell.

    Compared are the cells that both runs decide. Cells that only one of them has or decides are listed with their
    reason and are no difference; neither are seconds under the same verdict.
    """
    from watcher.report import diff as report
    from watcher.report import terminal

    difference = report.compare(saved(before), saved(after), (_published(before), _published(after)))
    if html is not None:
        from watcher.report.page import diff_page

        replace(html, diff_page(difference))
    if as_json:
        print_json(difference.as_json())
    else:
        terminal.show(report.lines(difference), console())
    raise typer.Exit(1 if difference.changed else 0)


def _published(run: Path) -> str | None:
    """A published run is known by its folder; inside, all are called the same."""
    from watcher.report.index import FOLDER

    name = (run if run.is_dir() else run.parent).resolve().name
    return name if FOLDER.fullmatch(name) else None


def judged(run: Path) -> Results:
    """The judge's word on a journal. Raises UsageError where there is none."""
    from watcher import journal

    records = list(journal.read(run))

    from watcher.judge.results import results_of

    return results_of(records)


def saved(run: Path) -> Results:
    """A run's ``results.json``; judged from the journal where the run was interrupted before it had any."""
    from pydantic import ValidationError

    from watcher.model import Results
    from watcher.report.files import RESULTS

    file = run / RESULTS if run.is_dir() else run
    if not file.exists():
        if run.is_dir():
            return judged(run)
        raise UsageError(f"there is no {run}", advice="give the folder that `watcher run` wrote (its --output)")
    try:
        return Results.model_validate_json(file.read_bytes())
    except OSError as error:
        raise FileError(str(file), None, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or None
        advice = "`watcher judge --write` makes it again from the journal"
        raise FileError(str(file), key, str(first["msg"]), advice=advice) from error
