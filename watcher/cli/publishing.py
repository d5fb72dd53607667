"""``watcher publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watcher.cli.output import console, replace

EPILOG = """
**Examples**

`watcher publish runs/20261121-083000` : into results/, its index and the table of README.md

`watcher publish` : indexes and table again, and pages that are missing

`watcher publish --pages-again` : after a change of how pages are drawn

**Exit status:** 0 published; 2 wrong usage, or a run that is not fit to be published: not trusted, not in true time,
too large, published already.
"""


def publish(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="A run's whole folder.", show_default=False)
    ] = None,
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where published runs are.")] = Path("results"),
    readme: Annotated[
        Path, typer.Option(metavar="FILE", help="The page that shows the newest between its markers.")
    ] = Path("README.md"),
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Even a run that cannot be trusted or was not in true time.")
    ] = False,
    pages_again: Annotated[
        bool, typer.Option("--pages-again", help="Draw the pages of all published runs anew, not only missing ones.")
    ] = False,
) -> None:
    """Make a run's results public: below 10 MB, without names of this machine, and able to be judged again.

    The folder DATE-ID holds results, matrix, the compressed journal, and of every cell that is not ok the packets
    (headers only), output and errors. The run's own folder is only read, and what is published is never overwritten.
    Its page is made beside it, DIR/pages/DATE-ID.html, and DIR/index.html lists all: DIR is ready for a static host.
    """
    from watcher.publish import folder, page, pages
    from watcher.publish.redaction import Redaction

    pages.pages(to, readme)
    place: Path | None = None
    if run is not None:
        out = console(stderr=True)
        with out.status("publishing") as status:

            def say(text: str) -> None:
                if out.is_terminal:
                    status.update(text)
                elif not text.startswith("evidence "):
                    out.print(text, soft_wrap=True)

            place = folder.publish(run, to, anyway=anyway, redaction=Redaction.of_this_machine(run), say=say)
    for file, content in pages.pages(to, readme).items():
        replace(file, content)
    for file, content in page.pages(to, pages.published(to), readme.parent, again=pages_again):
        file.parent.mkdir(exist_ok=True)
        replace(file, content)
    if place is not None:
        typer.echo(place)
