"""The command line. It parses, calls and prints; what a command needs is imported when the command runs."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from watcher.cli import (
    building,
    judging,
    listing,
    machine,
    pathing,
    probing,
    publishing,
    rehearsing,
    reporting,
    running,
    serving,
    soaking,
    summarizing,
)
from watcher.cli.output import print_error
from watcher.errors import WatcherError

INTERRUPTED = 130

EPILOG = """
**Start here**

`watcher doctor` : can the lab run on this machine, and what to do if not?

`watcher run --scale 12` : the whole matrix, twelve times faster than the cloud

`watcher list profiles` : the settings that are compared
"""


class _Commands(TyperGroup):
    """Turns an error that is meant for the user into one block on standard error and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except WatcherError as error:
            print_error(error)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            print_error(WatcherError("interrupted"))
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(
    cls=_Commands,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"watcher {version('watcher-resilience-matrix')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def watcher(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001  # its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Will my Kubernetes client still see a change within 10 seconds through this network, and if not, which setting
    makes it?

    Real client libraries watch a ConfigMap through a real kernel's network that goes wrong in a known way: a load
    balancer forgets an idle connection, a firewall drops it, a reset gets lost. Then the ConfigMap is touched. The
    matrix shows who saw it (ok), who saw it late, who failed loudly (died) and who failed silently (stuck).
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


app.command("run", epilog=running.EPILOG)(running.run)
app.command("list", epilog=listing.EPILOG)(listing.list_)
app.command("judge", epilog=judging.JUDGE_EPILOG)(judging.judge)
app.command("report", epilog=reporting.EPILOG)(reporting.report)
app.command("diff", epilog=judging.DIFF_EPILOG)(judging.diff)
app.command("rehearse", epilog=rehearsing.EPILOG)(rehearsing.rehearse)
app.command("publish", epilog=publishing.EPILOG)(publishing.publish)
app.command("path", epilog=pathing.EPILOG)(pathing.path)
app.command("soak", epilog=soaking.EPILOG)(soaking.soak)
app.command("summarize", epilog=summarizing.EPILOG)(summarizing.summarize)
app.command("probe", epilog=probing.EPILOG)(probing.probe)
app.add_typer(serving.serve, name="serve")
app.command("build", epilog=building.EPILOG)(building.build)
app.command("doctor", epilog=machine.DOCTOR_EPILOG)(machine.doctor)


def main() -> None:
    """Entry point of ``watcher`` and ``python -m watcher``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="watcher")
