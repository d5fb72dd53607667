"""``watcher rehearse``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import progress_console, replace
from watcher.cli.running import LIST, need_the_lab, scale_of
from watcher.cli.summarizing import Format, summarize
from watcher.errors import UsageError

if TYPE_CHECKING:
    from watcher.rehearsal.options import RehearsalOptions
    from watcher.rehearsal.run import Rehearsed

EPILOG = """
**Examples**

`watcher rehearse --cluster public=azure-slb --cluster private=azure-private-link --hours 1` : an hour in true time

`watcher rehearse --cluster mine=gcp-vpc --interval 900 --scale 12 --touches 5` : the same soak, in minutes;
a program's start and a library's own timers are as long as ever, and can decide there

**Exit status:** 0 every soak ran to its end and its counts agree with the API server's audit log, whatever they say of
the clients; 2 wrong usage; 3 one did not, or the lab cannot run here; 130 interrupted.
"""
EXPORTS = "exports"
TABLES: dict[str | None, Format] = {
    "summary.md": Format.MARKDOWN,
    "summary.html": Format.HTML,
    "summary.json": Format.JSON,
}
_WHAT = "What"
_HOW = "How"


def rehearse(
    cluster: Annotated[
        list[str] | None,
        typer.Option("--cluster", metavar="NAME=PATH", rich_help_panel=_WHAT, help="A cluster; repeatable."),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(metavar="N", rich_help_panel=_WHAT, help="How long, in hours of true time.")
    ] = None,
    touches: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=_WHAT, help="End each soak after N touches.")
    ] = None,
    stacks: Annotated[
        str | None,
        typer.Option(metavar=LIST, rich_help_panel=_WHAT, help="Names and globs, with commas. [the soak's own]"),
    ] = None,
    profiles: Annotated[
        str | None,
        typer.Option(metavar=LIST, rich_help_panel=_WHAT, help="Names and globs, with commas. [the soak's own]"),
    ] = None,
    path: Annotated[
        list[Path] | None,
        typer.Option("--path", metavar="FILE", rich_help_panel=_WHAT, help="A path of your own; repeatable."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", rich_help_panel=_WHAT, help="Measure each path, too: `watcher path`, in a pod.")
    ] = False,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", rich_help_panel=_HOW, help="Between two touches, in true time.")
    ] = 600.0,
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", rich_help_panel=_HOW, help="In true time; 1 s of real time at least.")
    ] = 10.0,
    scale: Annotated[
        float | None, typer.Option(metavar="N", rich_help_panel=_HOW, help="Divide every duration by N. [true time]")
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
        Path | None, typer.Option(metavar="DIR", rich_help_panel=_HOW, help="The rehearsal's folder. [rehearsals/TIME]")
    ] = None,
) -> None:
    """Run the soak in the lab: a real control plane for each cluster, a path before it, and `watcher soak` behind that.

    What comes out is what a soak in such a cluster would bring home: its totals, its failures, the table.
    """
    from watcher.catalog import Catalog
    from watcher.rehearsal.options import RehearsalOptions, clusters_of

    if (hours is None) == (touches is None):
        raise UsageError("how long?", advice="give --hours N or --touches N")
    if hours is not None and hours <= 0:
        raise UsageError(f"--hours must be greater than 0, not {hours:g}", advice="0.5 is half an hour")
    if interval <= 0 or deadline <= 0:
        raise UsageError("--interval and --deadline must be greater than 0", advice="the defaults are 600 and 10")
    options = RehearsalOptions(
        clusters=clusters_of(cluster or ()),
        stacks=stacks,
        profiles=profiles,
        hours=hours,
        measure=measure,
        touches=touches,
        interval_seconds=interval,
        deadline_seconds=deadline,
        scale=scale_of(scale),
        control_plane=control_plane,
        output=output,
    )
    catalog = Catalog.load((), (), path or ())
    need_the_lab()

    from watcher.rehearsal.run import rehearse as run

    rehearsed = run(options, catalog, progress_console())
    leave_tables(rehearsed, options)
    if not rehearsed.trusted:
        raise typer.Exit(3)


def leave_tables(rehearsed: Rehearsed, options: RehearsalOptions) -> None:
    """Saves each cluster's export, and the table of all as ``watcher summarize`` makes it of them; prints that, too."""
    from watcher.catalog import Catalog
    from watcher.summary import exports as saved

    folder = rehearsed.folder / EXPORTS
    folder.mkdir()
    files = {name: folder / f"{name}.json" for name in rehearsed.clusters}
    for name, file in files.items():
        replace(file, saved.text_of(saved.load(rehearsed.config_maps(name), name)))
    known = Catalog.load().paths  # a path of the user's own has no prediction
    paths = [f"{name}={path}" for name, path in options.clusters.items() if path in known]
    for table, format_ in {**TABLES, None: Format.TERMINAL}.items():
        with contextlib.suppress(typer.Exit):
            summarize(
                from_=[str(file) for file in files.values()],
                path=paths,
                format_=format_,
                output=None if table is None else rehearsed.folder / table,
            )
    again = " ".join([*(f"--from {file}" for file in files.values()), *(f"--path {each}" for each in paths)])
    progress_console().print(
        f"kept in {rehearsed.folder}: {', '.join(str(table) for table in TABLES)}, {EXPORTS}/; the table again:"
        f" watcher summarize {again}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
