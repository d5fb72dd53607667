"""``watcher report``: what a saved run looks like in a browser, in documentation and to a CI system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watcher.cli.judging import saved
from watcher.cli.output import replace
from watcher.errors import UsageError

EPILOG = """
**Examples**

`watcher report runs/20261121-083000` : page.html, junit.xml, matrix.md and clients.md beside its results.json

`watcher report results/2026-11-21-45f9b205 --output /tmp/shown` : somewhere else; a published run is never changed

**Exit status:** 0 written; 2 wrong usage, or a run that cannot be read.
"""


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write. [the run's folder]", show_default=False)
    ] = None,
) -> None:
    """Write a run's page (one HTML file that works offline), its JUnit XML and its Markdown tables.

    The verdicts are those of results.json; what a cell opens to is made from the journal. Open the page in a browser:
    it fetches nothing, and a link to a view or a cell is its address.
    """
    from watcher.publish import page
    from watcher.report import clients, files, junit, markdown
    from watcher.report.index import FOLDER
    from watcher.report.page import MATRIX_PAGE

    if not run.is_dir():
        raise UsageError(f"{run} is no folder", advice="give the folder that `watcher run` wrote (its --output)")
    name = run.resolve().name
    if output is None and FOLDER.fullmatch(name):
        raise UsageError(
            f"{run} is published, and what is published is never changed",
            advice="`watcher publish` makes its page beside it; or name a folder with --output",
        )
    place = output or run
    results = saved(run)
    shown = name if FOLDER.fullmatch(name) else results.run.id
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{place} cannot be written: {error.strerror}") from error
    written = {
        MATRIX_PAGE: page.render(results, shown, run, place),
        junit.NAME: junit.render(results),
        files.MATRIX: markdown.render(results),
        clients.NAME: clients.render(results),
    }
    for file, content in written.items():
        replace(place / file, content)
        typer.echo(place / file)
