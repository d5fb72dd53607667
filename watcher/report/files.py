"""The files that are derived from a run's results, by their names in the run's folder."""

from __future__ import annotations

from watcher.model import Results
from watcher.report import markdown

RESULTS = "results.json"
MATRIX = "matrix.md"


def derived(results: Results) -> dict[str, str]:
    """File name to content. All of it can be made again from the journal."""
    return {RESULTS: results.model_dump_json(indent=2) + "\n", MATRIX: markdown.render(results)}
