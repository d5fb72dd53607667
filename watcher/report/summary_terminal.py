"""The summary for a terminal or a pipe. rich lays the tables out; no text of a cluster is ever markup."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from watcher.report import summary_tables as tables
from watcher.report.summary import Cluster, Summary
from watcher.report.summary_words import STYLES


def report(summary: Summary, *, ascii_only: bool = False) -> Iterator[RenderableType]:
    for text in tables.heading(summary):
        yield Text(text)
    table = Table(show_lines=True, box=box.ASCII if ascii_only else box.SQUARE)
    for name in (tables.CLIENT, tables.KEEPALIVE, *(cluster.title for cluster in summary.clusters)):
        table.add_column(Text(name, style="bold"), overflow="fold")
    for row in summary.rows:
        cells = [_stacked(tables.cell(cell, row), STYLES[cell.word]) for cell in row.cells]
        table.add_row(_stacked(tables.client(row), "bold"), Text(row.keepalive), *cells)
    yield table
    for symbol, word, meaning in tables.legend(summary):
        yield Text(f"{symbol} {word}: {meaning}")
    for cluster in summary.clusters:
        yield from _cluster(cluster)


def _cluster(cluster: Cluster) -> Iterator[RenderableType]:
    yield Text()
    yield Text.assemble((cluster.title, "bold"), "  ", tables.described(cluster))
    for style, title, texts in (("red", "problem", cluster.problems), ("yellow", "note", cluster.warnings)):
        for text in texts:
            yield Text.assemble((f"{title}: ", style), text)
    if cluster.instances:
        yield Text("updates, none of it charged to a client:")
        for row in tables.updates(cluster):
            yield Text("; ".join(f"{name} {text}" for name, text in zip(tables.UPDATES, row, strict=True) if text))
    if cluster.misses:
        yield Text(f"{tables.misses_title(cluster)}:")
        for row in tables.misses(cluster):
            yield Text("; ".join(f"{name} {text}" for name, text in zip(tables.MISSES, row, strict=True) if text))


def _stacked(texts: list[str], style: str) -> Text:
    first, *rest = texts
    return Text.assemble((first, style), *(("\n" + text, "dim") for text in rest))
