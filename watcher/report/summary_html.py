"""The summary as one HTML file that needs nothing else: no script, no font, no address of anything."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from watcher.report import summary_tables as tables
from watcher.report.summary import Summary
from watcher.report.summary_words import Word

CLASSES = {
    Word.PASS: "pass",
    Word.PASS_WITH_RESTARTS: "restarts",
    Word.FAIL: "fail",
    Word.NOT_ENOUGH: "open",
    Word.NO_DATA: "open",
}


def render(summary: Summary) -> str:
    """Everything is escaped by the template engine; the template marks nothing as safe."""
    return _template().render(summary=summary, tables=tables, classes=CLASSES)


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("watcher.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("summary.html.j2")
