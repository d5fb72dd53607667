"""The summary as GitHub Markdown: for a page, or a bug report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from watcher.report import summary_tables as tables
from watcher.report.markdown import escape, header, line
from watcher.report.summary import Cluster, Summary

_BREAK = "<br>"


def render(summary: Summary) -> str:
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    yield "# Clients in clusters"
    yield ""
    yield from (f"{escape(text)}  " for text in tables.heading(summary))
    yield ""
    yield from header([tables.CLIENT, tables.KEEPALIVE, *(cluster.title for cluster in summary.clusters)])
    for row in summary.rows:
        cells = [_stacked(tables.cell(cell, row), strong=True) for cell in row.cells]
        yield line([_stacked(tables.client(row)), escape(row.keepalive), *cells])
    yield ""
    yield from (f"- {escape(symbol)} {word}: {escape(meaning)}" for symbol, word, meaning in tables.legend(summary))
    for cluster in summary.clusters:
        yield from _cluster(cluster)


def _cluster(cluster: Cluster) -> Iterator[str]:
    yield ""
    yield f"## {escape(cluster.title)}"
    yield ""
    if text := tables.described(cluster):
        yield escape(text)
        yield ""
    for title, texts in (("Problems", cluster.problems), ("Before you believe it", cluster.warnings)):
        if texts:
            yield f"{title}:"
            yield ""
            yield from (f"- {escape(text)}" for text in texts)
            yield ""
    if cluster.instances:
        yield "What became of the updates; none of it is charged to a client:"
        yield ""
        yield from _table(tables.UPDATES, tables.updates(cluster))
    if cluster.misses:
        yield ""
        yield f"{tables.misses_title(cluster)}:"
        yield ""
        yield from _table(tables.MISSES, tables.misses(cluster))


def _table(names: Iterable[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield from header(names)
    yield from (line(map(escape, row)) for row in rows)


def _stacked(texts: list[str], *, strong: bool = False) -> str:
    first, *rest = map(escape, texts)
    return _BREAK.join([f"**{first}**" if strong else first, *rest])
