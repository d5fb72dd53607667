"""``watcher run``."""

from __future__ import annotations

import math
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import console, progress_console, replace
from watcher.errors import LabUnavailable, UsageError

if TYPE_CHECKING:
    from watcher.model import Results, Verdict
    from watcher.runner.options import RunOptions

EPILOG = """
**Examples**

`watcher run --scale 12 --stacks python-urllib3 --scenarios 'azure-*,blackhole'` : a first look, in about a minute

`watcher run --stacks 'python-*' --profiles default,tcp-keepalive --scenarios 'azure-*'` : a part, in true time

`watcher run --client ./my-client --stacks my-client --fail-on stuck,late` : your own client, as a check in CI

`watcher run --output runs/night --resume` : go on with a run that was interrupted

**Exit status:** 0 the run can be trusted, whatever the verdicts; 1 a verdict of `--fail-on`; 2 wrong usage; 3 the run
cannot be trusted, or the lab cannot run here (`watcher doctor` says why); 130 interrupted.
"""

LIST = "LIST"
_CHOICE = "Which"
_HOW = "How"


def run(
    stacks: Annotated[
        str | None, typer.Option(metavar=LIST, rich_help_panel=_CHOICE, help="Names and globs, with commas. [all]")
    ] = None,
    profiles: Annotated[
        str | None, typer.Option(metavar=LIST, rich_help_panel=_CHOICE, help="Names and globs, with commas. [all]")
    ] = None,
    scenarios: Annotated[
        str | None, typer.Option(metavar=LIST, rich_help_panel=_CHOICE, help="Names and globs, with commas. [all]")
    ] = None,
    client: Annotated[
        list[Path] | None,
        typer.Option(
            "--client", metavar="DIR", rich_help_panel=_CHOICE, help="A client folder of your own; repeatable."
        ),
    ] = None,
    scenario: Annotated[
        list[Path] | None,
        typer.Option("--scenario", metavar="FILE", rich_help_panel=_CHOICE, help="A scenario of your own; repeatable."),
    ] = None,
    path: Annotated[
        list[Path] | None,
        typer.Option("--path", metavar="FILE", rich_help_panel=_CHOICE, help="A path of your own; repeatable."),
    ] = None,
    cells: Annotated[
        str | None,
        typer.Option(
            metavar=LIST,
            rich_help_panel=_CHOICE,
            help="Of these, only STACK/PROFILE/SCENARIO: globs, with commas. [all]",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            rich_help_panel=_HOW,
            help="Divide every duration by N. Cells that would be decided differently are not run. [true time]",
        ),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, metavar="N", rich_help_panel=_HOW, help="Run each cell N times.")] = 1,
    tie_break: Annotated[
        bool, typer.Option("--tie-break", rich_help_panel=_HOW, help="Run cells whose repeats disagree once more.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel=_HOW, help="At most N cells at once. [what memory allows]"),
    ] = None,
    control_plane: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            rich_help_panel=_HOW,
            help="embedded, kubernetes (binaries in KUBEBUILDER_ASSETS), or auto: the real one where it is at hand.",
        ),
    ] = "auto",
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", rich_help_panel=_HOW, help="The run's folder. [runs/TIME]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=_HOW, help="Go on in --output; finished cells are kept.")
    ] = False,
    fail_on: Annotated[
        str | None,
        typer.Option(metavar="VERDICTS", rich_help_panel=_HOW, help="Exit 1 if a cell has one: stuck,late"),
    ] = None,
) -> None:
    """Run cells in the lab and print the matrix.

    Each cell is one stack with one profile in one scenario, in a network of its own. No root is needed, nothing
    outside the lab is touched, and everything that was seen is kept in the run's folder, to be judged again.
    """
    from watcher.catalog import Catalog
    from watcher.runner.options import RunOptions

    if resume and output is None:
        raise UsageError("--resume needs --output", advice="name the folder of the run to go on with")
    given = {"--stacks": stacks, "--profiles": profiles, "--scenarios": scenarios, "--cells": cells, "--scale": scale}
    if resume and (clash := [name for name, value in given.items() if value is not None]):
        raise UsageError(
            f"--resume goes on with what the run was begun with; {', '.join(clash)} cannot change it",
            advice="leave it out, or begin a new run in another --output",
        )
    catalog = Catalog.load(client or (), scenario or (), path or ())
    folder = output or Path("runs") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    options = RunOptions(
        stacks=",".join(catalog.select_stacks(stacks)),
        profiles=",".join(catalog.select_profiles(profiles)),
        scenarios=",".join(catalog.select_scenarios(scenarios)),
        cells=cells,
        scale=scale_of(scale),
        repeat=repeat,
        tie_break=tie_break,
        jobs=jobs,
        control_plane=control_plane,
        fail_on=verdicts(fail_on),
        output=folder,
        resume=resume,
    )
    need_the_lab()

    from watcher.report import files, terminal
    from watcher.runner.run import run as run_cells

    results = run_cells(options, catalog, progress_console())
    for name, content in {**files.derived(results), **files.beside_cells(results)}.items():
        replace(folder / name, content)
    out = console()
    terminal.show(terminal.report(results, terminal.columns(out)), out)
    raise typer.Exit(exit_code(results, options))


def exit_code(results: Results, options: RunOptions) -> int:
    """3 before 1 before 0: what cannot be trusted has not failed either."""
    if not results.run.trusted:
        return 3
    return 1 if any(cell.verdict in options.fail_on for cell in results.cells) else 0


def verdicts(names: str | None) -> tuple[Verdict, ...]:
    """The verdicts of ``--fail-on``."""
    from watcher.model import Verdict

    parts = [part.strip() for part in (names or "").split(",") if part.strip()]
    known = [str(verdict) for verdict in Verdict]
    for part in parts:
        if part not in known:
            nearest = get_close_matches(part, known, n=1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise UsageError(f"--fail-on: unknown verdict {part!r}", advice=f"{hint}there are: {', '.join(known)}")
    return tuple(map(Verdict, dict.fromkeys(parts)))


def need_the_lab() -> None:
    """Before anything of the lab is imported, which only Linux can. Raises LabUnavailable with what to do."""
    from watcher.doctor import lab_problem

    problem = lab_problem()
    if problem is not None:
        raise LabUnavailable("the lab cannot run on this machine", advice=problem)


def scale_of(scale: float | None) -> float:
    if scale is None:
        return 1.0
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(
            f"--scale must be a number greater than 0, not {scale:g}",
            advice="12 makes 75 seconds of a quarter of an hour; leave it out for true time",
        )
    return scale
