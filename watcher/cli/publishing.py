"""``watcher publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watcher.cli.output import console, replace
from watcher.errors import UsageError

EPILOG = """
**Examples**

`watcher publish runs/20261121-083000` : into results/, its index and the table of README.md

`watcher publish` : indexes and table again, and pages that are missing

`watcher publish --pages-again` : after a change of how pages are drawn

`watcher publish rehearsals/20261121-142000 --least-hours 1 --least-touches 6` : a soak, into results/soaks/

**Exit status:** 0 published; 2 wrong usage, or a run or soak that is not fit to be published: not trusted, not in true
time, too large, published already.
"""


def publish(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="A run's or a rehearsal's whole folder.", show_default=False)
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
    least_hours: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS", min=0, show_default=False, help="Of a soak: below this its table has no PASS. [24]"
        ),
    ] = None,
    least_touches: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=1, show_default=False, help="Of a soak: nor below this. [100]"),
    ] = None,
) -> None:
    """Make a run's results public: below 10 MB, without names of this machine, and able to be judged again.

    The folder DATE-ID holds results, matrix, the compressed journal, and of every cell that is not ok the packets
    (headers only), output and errors. The run's own folder is only read, and what is published is never overwritten.
    Its page is made beside it, DIR/pages/DATE-ID.html, and DIR/index.html lists all: DIR is ready for a static host.
    What `watcher rehearse` wrote goes to DIR/soaks/DATE-ID: exports, the table made of them, and what stands behind it.
    """
    from watcher.publish import folder, page, pages, rehearsed, soak
    from watcher.publish.redaction import Redaction
    from watcher.report.summary_words import Least

    rehearsal = run is not None and rehearsed.is_rehearsal(run)
    chosen = {name: value for name, value in (("hours", least_hours), ("touches", least_touches)) if value is not None}
    if chosen and not rehearsal:
        raise UsageError(
            "--least-hours and --least-touches are of a soak", advice="name a rehearsal's folder with them"
        )
    pages.pages(to, readme, soak=rehearsal)
    place: Path | None = None
    if run is not None:
        out = console(stderr=True)
        with out.status("publishing") as status:

            def say(text: str) -> None:
                if out.is_terminal:
                    status.update(text)
                elif not text.startswith("evidence "):
                    out.print(text, soft_wrap=True)

            redaction = Redaction.of_this_machine(run)
            if rehearsal:
                least = Least.model_validate(chosen)
                place = soak.publish(run, to, least=least, anyway=anyway, redaction=redaction, say=say)
            else:
                place = folder.publish(run, to, anyway=anyway, redaction=redaction, say=say)
    for file, content in pages.pages(to, readme).items():
        replace(file, content)
    runs, soaks = pages.published(to), pages.published_soaks(to)
    for file, content in page.pages(to, runs, readme.parent, again=pages_again, soaks=soaks):
        file.parent.mkdir(exist_ok=True)
        replace(file, content)
    if place is not None:
        typer.echo(place)
