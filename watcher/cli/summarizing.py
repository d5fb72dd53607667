"""``watcher summarize``."""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import console, print_error, replace
from watcher.errors import UnknownName, UsageError, WatcherError

if TYPE_CHECKING:
    from watcher.catalog import Catalog
    from watcher.report.summary import Summary
    from watcher.report.summary_prediction import LabRun
    from watcher.totals import Export

EPILOG = """
**Examples**

`watcher summarize --context aks-pub=public --context aks-priv=private --namespace watcher`

`watcher summarize --context prod --export prod.json` : saved; `watcher summarize --from prod.json` : offline

`watcher summarize --from a.json --path public=azure-slb --format html --output table.html` : with the lab's word

**Exit status:** 0 the table is whole; 2 wrong usage; 3 a cluster could not be read.
"""
_PIPE_COLUMNS = 250
_READ = "What is read"
_SHOW = "What is shown"


class Format(StrEnum):
    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"


def summarize(
    context: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COLUMN",
            rich_help_panel=_READ,
            help="A context of the kubeconfig and the column's name; without =COLUMN its own. Repeatable.",
            show_default=False,
        ),
    ] = None,
    from_: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            rich_help_panel=_READ,
            help="An export, or what `kubectl get configmaps -o json` printed; FILE=COLUMN names it. Repeatable.",
            show_default=False,
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=_READ, help="[each context's own]", show_default=False),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_READ, help="[KUBECONFIG, ~/.kube/config]", show_default=False),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_READ, help="Save what was read.", show_default=False),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=PATH",
            rich_help_panel=_SHOW,
            help="Which path of the lab a cluster has (`watcher path` measures it): shows the lab's word. Repeatable.",
            show_default=False,
        ),
    ] = None,
    prediction: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            rich_help_panel=_SHOW,
            help="The lab's run. [all in results/, each cell by its newest]",
            show_default=False,
        ),
    ] = None,
    least_hours: Annotated[
        float, typer.Option(metavar="HOURS", min=0, rich_help_panel=_SHOW, help="Below this there is no PASS.")
    ] = 24,
    least_touches: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, rich_help_panel=_SHOW, help="Nor below this.")
    ] = 100,
    format_: Annotated[Format, typer.Option("--format", rich_help_panel=_SHOW)] = Format.TERMINAL,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_SHOW, help="[standard output]", show_default=False),
    ] = None,
) -> None:
    """Make the table of soaks in any number of clusters: Client | Has keepalive? | a column for each cluster.

    PASS, PASS with restarts (n), FAIL (n of m, worst delay), or not enough data, with how long and how many touches
    stand behind each. Reads ConfigMaps of one namespace in each cluster and changes nothing.
    """
    from watcher.catalog import Catalog

    columns = [_pair(each, "--context", optional=True) for each in context or ()]
    if not columns and not from_:
        raise UsageError("there is nothing to read", advice="--context NAME=COLUMN for a cluster, --from FILE offline")
    catalog = Catalog.load()
    said = dict(_pair(each, "--path") for each in path or ())
    for name in said.values():
        if name not in catalog.paths:
            raise UnknownName("path", name, catalog.paths)
    if prediction is not None and not said:
        raise UsageError("--prediction needs to know each cluster's path", advice="--path COLUMN=PATH")
    lab = _prediction(prediction) if said else []
    exports, unreadable = _read(columns, from_ or (), namespace, kubeconfig)
    known = {each.cluster for each in exports} | unreadable.keys()
    if strange := sorted(said.keys() - known):
        raise UsageError(f"--path names no column: {strange[0]!r}", advice=f"columns are: {', '.join(sorted(known))}")
    if export is not None and exports:
        from watcher.summary.exports import text_of

        replace(export, text_of(exports))
    _write(_summary(exports, unreadable, said, lab, catalog, least_hours, least_touches), format_, output)
    raise typer.Exit(3 if unreadable else 0)


def _pair(text: str, option: str, *, optional: bool = False) -> tuple[str, str]:
    left, sign, right = text.rpartition("=")
    if not sign and optional and text:
        return text, text
    if not left or not right:
        raise UsageError(f"not what {option} takes: {text!r}", advice=f"`watcher summarize --help` shows {option}")
    return left, right


def _read(
    columns: Iterable[tuple[str, str]], files: Iterable[str], namespace: str | None, kubeconfig: Path | None
) -> tuple[list[Export], dict[str, str]]:
    """What could be read, and of the clusters that could not, why. Raises UsageError."""
    from watcher.summary import exports as saved

    found: list[Export] = []
    unreadable = {}
    for context, column in columns:
        from watcher.summary import clusters

        try:
            found.append(clusters.export(context, column, namespace, kubeconfig))
        except clusters.ClusterUnreadable as error:
            unreadable[column] = str(error.message)
            print_error(WatcherError(f"{column}: {error.message}", advice=error.advice))
    for text in files:
        if Path(text).exists() or "=" not in text:
            found += saved.load(Path(text))
        else:
            name, column = _pair(text, "--from")
            found += saved.load(Path(name), column)
    return found, unreadable


def _prediction(place: Path | None) -> list[LabRun]:
    """The lab's run that is named, else those that were published."""
    from watcher.summary import predictions

    return predictions.published() if place is None else [predictions.named(place)]


def _summary(
    exports: list[Export],
    unreadable: dict[str, str],
    said: dict[str, str],
    lab: list[LabRun],
    catalog: Catalog,
    least_hours: float,
    least_touches: int,
) -> Summary:
    from watcher.report.summary import build
    from watcher.report.summary_words import Least

    return build(
        exports,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        paths=catalog.paths,
        least=Least(hours=least_hours, touches=least_touches),
        predicted_paths=said,
        predictions=lab,
        unreadable=unreadable,
    )


def _write(summary: Summary, format_: Format, output: Path | None) -> None:
    out = console()
    if format_ is Format.TERMINAL and output is None and out.encoding.startswith("utf"):
        from rich.text import Text

        from watcher.report.summary_terminal import report

        if not out.is_terminal:
            out.width = _PIPE_COLUMNS
        for part in report(summary):
            # In a pipe each line is whole, so that it can be searched line by line.
            out.print(part, soft_wrap=not out.is_terminal and isinstance(part, Text))
        return
    text = _text(summary, format_, output)
    if output is None:
        typer.echo(text, nl=False)
    else:
        replace(output, text)


def _text(summary: Summary, format_: Format, output: Path | None) -> str:
    if format_ is Format.JSON:
        return summary.model_dump_json(indent=2) + "\n"
    if format_ is Format.HTML:
        from watcher.report import summary_html

        return summary_html.render(summary)
    if format_ is Format.MARKDOWN:
        from watcher.report import summary_markdown

        return summary_markdown.render(summary)
    return _plain(summary, ascii_only=output is None)


def _plain(summary: Summary, *, ascii_only: bool) -> str:
    """For a file, or for an output that cannot carry more than ASCII."""
    from rich.console import Console

    from watcher.report.summary_terminal import report
    from watcher.report.terminal import IN_ASCII

    file = io.StringIO()
    plain = Console(file=file, width=_PIPE_COLUMNS, highlight=False, markup=False, emoji=False, color_system=None)
    for part in report(summary, ascii_only=ascii_only):
        plain.print(part)
    text = "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
    return text.translate(IN_ASCII).encode("ascii", "replace").decode() if ascii_only else text
