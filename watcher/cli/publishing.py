"""``watcher publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watcher.cli.output import console, replace

EPILOG = """
**Examples**

`watcher publish runs/20261121-083000` : into results/, its index and the table of README.md

`watcher publish` : index and table again, from what is published

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
) -> None:
    """Make a run's results public: below 10 MB, without names of this machine, and able to be judged again.

    The folder DATE-ID holds results, matrix, the compressed journal, and of every cell that is not ok the packets
    (headers only), output and errors. The run's own folder is only read, and what is published is never overwritten.
    """
    from watcher.publish import folder, pages
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
    if place is not None:
        typer.echo(place)
