"""``watcher path``."""

from __future__ import annotations

import math
import os
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import console, print_json, progress_console
from watcher.errors import LabUnavailable, UsageError

if TYPE_CHECKING:
    from watcher.api import Credentials
    from watcher.idle.measure import Measured
    from watcher.idle.nearest import Near
    from watcher.idle.place import Place
    from watcher.idle.verdict import Finding, Try

EPILOG = """
**Examples**

`watcher path` : in a pod: the way from there to the API server, in a quarter of an hour

`watcher path --context prod --until 400 --step 20` : from here, by the kubeconfig

`watcher path --context prod --json | jq .finding.dead_seconds` : for scripts

**Exit status:** 0 it was measured, also where there is no timeout up to the last age; 2 wrong usage; 3 it cannot be
known, for example because the API server was restarted meanwhile.
"""
MOST_AGE_SECONDS = 86_400.0
_WHERE = "Where"
_HOW = "How"


def path(
    context: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=_WHERE, help="A context of the kubeconfig.")
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_WHERE, help="[KUBECONFIG, ~/.kube/config]", show_default=False),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=_WHERE, help="[the pod's, the context's]", show_default=False),
    ] = None,
    configmap: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_WHERE,
            help="A ConfigMap that nobody touches; it need not exist. [trigger-idle]",
            show_default=False,
        ),
    ] = None,
    ages: Annotated[
        str | None,
        typer.Option(metavar="LIST", rich_help_panel=_HOW, help="Seconds, with commas, instead of step and until."),
    ] = None,
    step: Annotated[float, typer.Option(metavar="SECONDS", rich_help_panel=_HOW, help="Between two ages.")] = 60,
    until: Annotated[float, typer.Option(metavar="SECONDS", rich_help_panel=_HOW, help="The last age.")] = 900,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine/--no-refine",
            rich_help_panel=_HOW,
            help="Where the timeout is known to lie between two ages, a second round narrows it; it costs at most the"
            " later of the two again, and up to 12 connections.",
        ),
    ] = True,
    try_seconds: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_HOW,
            min=0.1,
            max=600,
            help="How long a try waits for an answer before it says silent.",
        ),
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="The finding and every try, as JSON.")] = False,
) -> None:
    """Measure the idle timeout of the path to an API server, and how it ends a connection.

    Opens connections without keepalive, all at once, lets each be silent for its own time and then tries it once. Says
    how long a silence is safe, what happens after it, who keeps connections alive, and which path of the lab does
    the same. Needs the verb watch on configmaps in one namespace; changes nothing.
    """
    if not sys.platform.startswith("linux"):
        raise LabUnavailable("what a connection's kernel knows is read from Linux", advice="run it in a pod instead")
    from watcher.idle.connection import NOBODYS
    from watcher.idle.place import Place
    from watcher.idle.verdict import find, refining_ages, words

    first = parse_ages(ages) if ages is not None else steps(step, until)
    credentials, own = _credentials(context, kubeconfig)
    began = datetime.now(UTC)
    rounds = [first]
    play = partial(_play, Place(credentials, namespace or own, configmap or NOBODYS), try_seconds)
    measured = play(first)
    tries, problems = measured.tries, measured.problems
    finding = find(tries, problems)
    more = refining_ages(finding) if refine else ()
    if more:
        rounds.append(more)
        again = play(more)
        tries, problems = (*tries, *again.tries), (*problems, *again.problems)
        finding = find(tries, problems)
    near = _nearest(finding)
    if as_json:
        server = credentials()
        print_json(
            {
                "server": f"{server.host}:{server.port}",
                "began_at": began.isoformat(timespec="seconds"),
                "rounds_seconds": [list(each) for each in rounds],
                "finding": finding.model_dump(mode="json"),
                "words": words(finding),
                "nearest": [each.model_dump(mode="json") for each in near],
                "tries": [each.model_dump(mode="json") for each in tries],
            }
        )
    else:
        _show(finding, tries, near)
    raise typer.Exit(3 if finding.result in ("cannot-know", "contradicting") else 0)


def parse_ages(text: str) -> tuple[float, ...]:
    """``60,120``: in rising order, each once. Raises UsageError."""
    try:
        found = sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError as error:
        raise UsageError(f"not a list of seconds: {text!r}", advice="for example --ages 60,120,240") from error
    return _checked(tuple(found))


def steps(step: float, until: float) -> tuple[float, ...]:
    """``step``, twice that, and so on up to ``until``. Raises UsageError."""
    if not (0 < step <= until and math.isfinite(until)):
        raise UsageError("--step must be above 0 and at most --until", advice="for example --step 60 --until 900")
    # An age that is a whole number of steps must not be lost to a rounding error.
    return _checked(tuple(step * number for number in range(1, math.floor(until / step + 1e-9) + 1)))


def _checked(ages: tuple[float, ...]) -> tuple[float, ...]:
    from watcher.idle.measure import MOST_CONNECTIONS

    if not ages or not all(0 < age <= MOST_AGE_SECONDS for age in ages):
        raise UsageError(f"ages are seconds above 0, at most {MOST_AGE_SECONDS:g}", advice="for example 60,120,240")
    if len(ages) > MOST_CONNECTIONS:
        raise UsageError(
            f"{len(ages)} ages are {len(ages)} connections; {MOST_CONNECTIONS} are the most", advice="a longer --step"
        )
    return ages


def _credentials(context: str | None, kubeconfig: Path | None) -> tuple[Credentials, str]:
    from watcher.idle import access

    outside = context is not None or kubeconfig is not None
    if not outside and "KUBERNETES_SERVICE_HOST" in os.environ:
        return access.in_pod()
    return access.of_kubeconfig(context, kubeconfig)


def _play(place: Place, try_seconds: float, ages: tuple[float, ...]) -> Measured:
    from watcher.idle.progress import Reporter

    with Reporter(progress_console(), ages) as reporter:
        return place.play(ages, try_seconds=try_seconds, told=reporter.told, opened=reporter.opened)


def _nearest(finding: Finding) -> tuple[Near, ...]:
    from watcher.catalog import Catalog
    from watcher.idle.nearest import nearest

    return nearest(finding, Catalog.load().paths.values())


def _show(finding: Finding, tries: tuple[Try, ...], near: tuple[Near, ...]) -> None:
    from rich.text import Text

    from watcher.catalog import Catalog
    from watcher.idle.verdict import words

    out = console()
    out.print(Text(words(finding), style="bold"), soft_wrap=True)
    counted = f"{finding.tries} of {len(tries)} connections count"
    out.print(Text("; ".join([counted, *finding.notes])), soft_wrap=True)
    if finding.result == "timeout" and not near:
        out.print(Text("no path of the lab ends connections this way: `watcher list paths`"), soft_wrap=True)
    for each in near:
        out.print(Text(f"  {each.path}: {each.why}"), soft_wrap=True)
    scenarios = Catalog.load().scenarios.values()
    found = {each.path for each in near}
    names = [scenario.name for scenario in scenarios if scenario.path in found]
    if names:
        out.print(Text(f"in the lab: watcher run --scenarios {','.join(names)}"), soft_wrap=True)
